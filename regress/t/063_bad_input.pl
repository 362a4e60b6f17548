# Who may reach the sidecar, and what becomes of those who speak garbage to it: it lives, goes on committing, and its log does not
# grow with them.
use strict;
use warnings;
use ConcordTest;
use IO::Socket::UNIX;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my ($lib) = run_command([ 'pg_config', '--pkglibdir' ]);
my $concordd = "$lib/concordd";
my $work = PostgreSQL::Test::Utils::tempdir_short();

# Directories and addresses that are refused, each with a reason that helps.
foreach my $mode (0755, 0770, 0711)
{
	my $dir = sprintf('%s/open%o', $work, $mode);
	mkdir $dir;
	chmod $mode, $dir;
	command_fails_like([ 'timeout', 60, $concordd, '--dir', $dir ], qr/has mode 0\d+, so others can reach it; chmod 0700/,
		sprintf('a directory of mode %o', $mode));
	is(join(' ', glob "$dir/*"), '', 'nothing was made in it');
}
foreach my $address ('0.0.0.0:5555', '[::]:5555', '192.0.2.1:5555', '127.0.0.1:5555,0.0.0.0:5555')
{
	command_fails_like([ 'timeout', 60, $concordd, '--dir', "$work/new", '--listen', $address ], qr/neither unix:\/path nor loopback/,
		"it does not listen on $address");
}
mkdir "$work/shared";
chmod 0777, "$work/shared";
command_fails_like([ 'timeout', 60, $concordd, '--dir', "$work/d", '--listen', "unix:$work/shared/sock" ], qr/may be written by others/,
	'nor on a socket that others could replace');

# What it makes is its user's alone, whatever the umask. By hand: a server has set a strict one before it starts it.
my $old = umask 0;
my $alone = IPC::Run::start([ $concordd, '--dir', "$work/alone", '--log-file', "$work/alone.log" ]);
umask $old;
ok(wait_until(sub { -e "$work/alone.log" && slurp_file("$work/alone.log") =~ /role=adjudicator leading/ }), 'it leads');
my @open;
foreach my $path (split /\n/, `find $work/alone`)
{
	my $mode = (lstat $path)[2] & 0777;
	push @open, sprintf('%s %o', $path, $mode) if $mode & 077;
}
is("@open", '', 'nobody else can reach its files');
ok(-S "$work/alone/concordd.sock" && -e "$work/alone/storage/data.mdb" && glob("$work/alone/journal/*.segment"), '... of each kind');
$alone->signal('TERM');
$alone->finish;

my $node = new_cluster('main');
my $dir = $node->data_dir . '/concord';
$node->safe_psql('postgres', 'CREATE TABLE t (a int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 10)');

# Garbage.
my $pid = sidecar_pid($node);
my $log_before = -s $node->logfile;
srand(my $seed = time);
note("seed $seed");
my $connected = 0;
my $preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
foreach my $i (1 .. 300)
{
	my $socket = IO::Socket::UNIX->new(Peer => "$dir/concordd.sock") or next;
	$connected++;
	local $SIG{PIPE} = 'IGNORE';
	my $garbage = join '', map { chr int rand 256 } 1 .. rand 2000;
	my @openings = (
		'', "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", $preface,
		$preface . "\x00\x00\x00\x04\x00\x00\x00\x00\x00",
		# a frame of 16 MB is announced
		$preface . "\xff\xff\xff\x00\x00\x00\x00\x00\x01",
		# headers that are none
		$preface . "\x00\x00\x00\x04\x00\x00\x00\x00\x00" . "\x00\x00\x20\x01\x04\x00\x00\x00\x01");
	syswrite $socket, $openings[ $i % @openings ] . $garbage;
	close $socket if $i % 2;
}
is($connected, 300, 'all of them were heard');
is($node->safe_psql('postgres', 'INSERT INTO t VALUES (11); SELECT count(*) FROM t'), '11', 'it commits and reads');
is(sidecar_pid($node), $pid, 'it is the same process');
cmp_ok((-s $node->logfile) - $log_before, '<', 20000, 'its log has not grown with the garbage');
# What gRPC takes: messages that cannot be parsed, too large ones, and sound ones that make no sense, in epochs that are over and in
# the one that is. The tool speaks to every method of every service.
foreach my $i (1, 2)
{
	kill 'KILL', sidecar_pid($node);
	ok(wait_ready($node), "epoch $i is over");
}
$pid = sidecar_pid($node);
$log_before = -s $node->logfile;
sub garbage
{
	my $out = '';
	ok(IPC::Run::run([ "$ENV{CONCORD_TEST_BIN}/garbage", "unix:$dir/concordd.sock", $_[0] ], '>', \$out), 'garbage is sent');
	return $out;
}
my $out = garbage(1);
cmp_ok(scalar(() = $out =~ /^refused /mg), '>=', 60, 'every kind of request is refused');
is(join("\n", $out =~ /^(NOT .*)$/mg), '', 'none is not');
my $log = slurp_file($node->logfile, $log_before);
my @methods = map { qr/role=adjudicator refused method=$_ / } qw(Session Session.commit Session.chunk Session.abandon OfferPage);
push @methods, map { qr/role=journal refused method=$_ / } qw(Seal Truncate Append ReportCheckpoint);
push @methods, map { qr/role=storage refused method=$_ / } qw(Get Scan ReportReaders);
push @methods, map { qr/role=rpc refused method=\S*$_ reason="[^"]*cannot be parsed/ } qw(Adjudicator/ReadLsn Journal/Seal Journal/Tail Storage/Scan Sidecar/GetInfo);
is(join("\n", grep { $log !~ $_ } @methods), '', 'the log tells of each');
my $lines = scalar(() = $log =~ /refused method=/g);
$out = garbage(10);
is(join("\n", $out =~ /^(NOT .*)$/mg), '', 'nor is it later');
$log = slurp_file($node->logfile, $log_before);
cmp_ok(scalar(() = $log =~ /refused method=/g), '<=', $lines + 3, 'causes are told once, not each message');
is($node->safe_psql('postgres', 'INSERT INTO t VALUES (12); SELECT count(*) FROM t'), '12', 'it commits and reads');
is(sidecar_pid($node), $pid, 'it is the same process');
is($node->safe_psql('postgres', "SELECT count(*) FROM concord.check('t')"), '0', 'nothing of it is in the tables');
$node->stop;
done_testing();
