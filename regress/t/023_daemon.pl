# The command line of concordd, what it exits with; and how often a launcher tries one that ends at once.
use strict;
use warnings;
use ConcordTest;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

chomp(my $daemon = `pg_config --pkglibdir`);
$daemon .= '/concordd';
my $base = PostgreSQL::Test::Utils::tempdir_short();

sub run_daemon
{
	my (@options) = @_;
	my ($out, $err) = ('', '');
	IPC::Run::run([ $daemon, @options ], '<', \undef, '>', \$out, '2>', \$err, IPC::Run::timeout(60));
	return ($? >> 8, $out, $err);
}

my ($code, $out, $err) = run_daemon('--help');
is($code, 0, '--help');
like($out, qr/\Q$_\E/, "... tells of $_") foreach '--dir', '--listen', '--roles', '--journal-address', '--log-level', 'Exit codes: 0 stopped as asked';
is($err, '', '... and nothing else');
($code, $out, $err) = run_daemon('--version');
is($code, 0, '--version');
like($out, qr/^concordd \d+\.\d+\S*$/, '... is one line');

foreach my $wrong ([], [ '--dir', "$base/d", '--nonsense' ], [ '--dir', "$base/d", '--roles', 'king' ], [ '--dir', "$base/d", '--checkpoint-interval-ms', '0' ],
	[ '--dir', "$base/d", '--log-level', 'loud' ], [ '--dir', "$base/d", '--log-file', $base ],
	[ '--dir', "$base/d", '--listen', '192.0.2.1:5555' ], [ '--dir', "$base/d", '--write-quorum', '2' ])
{
	($code, $out, $err) = run_daemon(@$wrong);
	is($code, 2, "wrong usage: @$wrong");
	isnt($err, '', '... is explained');
}
ok(!-e "$base/d", 'nothing was made');

# Until it is told to end, with each level of log.
sub run_until_ready
{
	my ($level) = @_;
	my $log = "$base/$level.log";
	my $handle = IPC::Run::start([ $daemon, '--dir', "$base/d", '--log-level', $level, '--log-file', $log ], '<', \undef, '>', \my $o, '2>', \my $e);
	ok(wait_until(sub { -S "$base/d/concordd.sock" }, 20), "it listens, --log-level $level");
	# A signal before it is ready is taken when it is.
	$handle->signal('TERM');
	$handle->finish;
	is($handle->result(0), 0, '... and stops as asked');
	return slurp_file($log);
}
like(run_until_ready('info'), qr/level=info role=concordd ready address=.*level=info role=concordd stopped code=0/s, 'info');
unlike(run_until_ready('warning'), qr/level=info/, 'warning: no more than that');
is(run_until_ready('off'), '', 'off: nothing');
like(run_until_ready('debug'), qr/level=info role=concordd ready address=/, 'debug: also');

chmod 0755, "$base/d";
($code, $out, $err) = run_daemon('--dir', "$base/d");
is($code, 4, 'a directory that others can reach');
chmod 0700, "$base/d";
mkdir "$base/open";
chmod 0777, "$base/open";
($code, $out, $err) = run_daemon('--dir', "$base/d", '--listen', "unix:$base/open/s");
is($code, 5, 'a socket that others could replace');

# A sidecar that ends at once: tried after 100 ms, and each time twice as long after that: 5 or 6 times in 5 s.
my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'concord'\nconcord.daemon_path = '/bin/false'\n");
$node->start;
sub tried { return scalar(() = slurp_file($node->logfile) =~ m{LOG:  started concord sidecar "/bin/false"}g); }
ok(wait_until(sub { tried() > 0 }), 'the launcher starts what daemon_path names');
sleep 5;
my $tried = tried();
cmp_ok($tried, '>=', 3, 'one that ends is started again');
cmp_ok($tried, '<=', 8, '... more and more seldom');
like(slurp_file($node->logfile), qr/WARNING:  concord sidecar ended, PID \d+: child process exited with exit code 1/, '... and the log says how it ended');
$node->append_conf('postgresql.conf', "concord.daemon_path = ''\n");
$node->reload;
$node->safe_psql('postgres', 'CREATE EXTENSION concord; CREATE TABLE t (a int) USING concord; INSERT INTO t VALUES (1)');
is($node->safe_psql('postgres', 'SELECT * FROM t'), '1', 'with the right path it is in use within the time of a commit');
$node->stop;
done_testing();
