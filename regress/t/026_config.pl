# The configuration file of concordd and concordctl, its sample, and the unit for systemd.
use strict;
use warnings;
use ConcordTest;
use IO::Socket::UNIX;
use IPC::Run;
use PostgreSQL::Test::Utils;
use Socket;
use Test::More;

chomp(my $daemon = `pg_config --pkglibdir`);
$daemon .= '/concordd';
chomp(my $ctl = `pg_config --bindir`);
$ctl .= '/concordctl';
chomp(my $sample = `pg_config --sharedir`);
$sample .= '/concord.conf.sample';
my $base = PostgreSQL::Test::Utils::tempdir_short();
my $conf = "$base/test.conf";

sub run_program
{
	my ($out, $err) = ('', '');
	IPC::Run::run([@_], '<', \undef, '>', \$out, '2>', \$err, IPC::Run::timeout(60));
	return ($? >> 8, $out, $err);
}

sub write_conf
{
	open(my $file, '>', $conf) or die "$conf: $!";
	print $file @_;
	close($file);
}

# What a file that concordd does not take is told.
sub refused
{
	my ($text, $message, $name, @options) = @_;
	write_conf($text);
	my ($code, undef, $err) = run_program($daemon, '--config', $conf, '--dir', "$base/none", @options);
	is($code, 2, $name);
	like($err, $message, '... is told so');
	ok(!-e "$base/none", '... and nothing is made');
}

refused("# fine\nretention = 5\n", qr/^concordd: \Q$conf\E, line 2: there is no option "retention"/, 'a name that is not known');
refused("\nretention-ms = soon\n", qr/^concordd: \Q$conf\E, line 2: .*retention-ms/, 'a value that is no number');
refused("roles = journal\nmax-tokens = 0\n", qr/^concordd: \Q$conf\E, line 2: .*max-tokens/, 'a value out of range');
refused("roles = journal, king\n", qr/^concordd: \Q$conf\E, line 1: .*roles.*king/, 'a value that is none of those');
refused("max-tokens = 5\nmax-tokens = 5\n", qr/line 2: "max-tokens" is set in line 1 already/, 'a name twice');
refused("log-level info\n", qr/line 1: "log-level info" is not NAME = VALUE/, 'no equals sign');
refused("log-file = '/x\n", qr/line 1: the value of "log-file" has a quote that is not closed/, 'an open quote');
refused("log-file =\n", qr/line 1: "log-file" has no value/, 'no value');
refused("log-file = a,b\n", qr/line 1: "log-file" has one value/, 'two values');
refused("lifeline-fd = 3\n", qr/line 1: "lifeline-fd" is for the command line only/, 'what a parent process says');
refused("listen = 0.0.0.0:5555\n", qr/0\.0\.0\.0:5555 is neither unix:\/path nor loopback, and without TLS/, 'a listener off loopback');
refused("retention-ms = 5\n", qr/^concordd: (?!.*line).*max-tokens/, 'a wrong value of the command line', '--max-tokens=x');
my ($code, $out, $err) = run_program($daemon, '--config', "$base/nowhere", '--dir', "$base/none");
is($code, 2, 'no file');
like($err, qr/\Q$base\E\/nowhere/, '... is named');

# A file that it takes, the command line before it, and a service manager that is told.
my $socket = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Local => "$base/notify") or die "notify: $!";
write_conf("dir = '$base/d' # here\nroles = journal, storage\nlog-file = $base/none.log\nlisten = unix:$base/a.sock, 127.0.0.1:"
	  . PostgreSQL::Test::Cluster::get_free_port() . "\n");
my $handle;
{
	local $ENV{NOTIFY_SOCKET} = "$base/notify";
	$handle = IPC::Run::start([ $daemon, '--config', $conf, '--log-file', "$base/log" ], '<', \undef, '>', "$base/out", '2>&1');
}
ok(wait_until(sub { -e "$base/log" && slurp_file("$base/log") =~ /ready address=unix:\Q$base\E\/a\.sock,127\.0\.0\.1:\d+ / }), 'it listens on both');
ok(!-e "$base/none.log", 'the command line wins');
$socket->recv(my $told, 100);
is($told, 'READY=1', 'the service manager is told that it is ready');
is((stat "$base/a.sock")[2] & 0777, 0600, 'the socket is nobody else\'s');
($code, $out, $err) = run_program($ctl, 'status', "$base/d");
like($out, qr/unix:\Q$base\E\/a\.sock/, 'concordctl finds its socket');
$handle->signal('TERM');
$handle->finish;
$socket->recv($told, 100);
is($told, 'STOPPING=1', '... and that it stops');

# concordctl takes what it needs from there.
write_conf("dir = $base/d\nmetastore = etcd:127.0.0.1:1\nmax-tokens = 5\n");
my @members = ('cluster', 'members', '--cluster', '0' x 32);
($code, undef, $err) = run_program($ctl, '--config', $conf, @members);
is($code, 4, 'concordctl asks the etcd of the file');
like($err, qr/etcd does not answer: 127\.0\.0\.1:1: /, '... by its endpoint');
($code, undef, $err) = run_program($ctl, @members, '--config', $conf, '--metastore', 'etcd:127.0.0.1:2');
like($err, qr/etcd does not answer: 127\.0\.0\.1:2: /, '... unless it is told another one');
write_conf("metastore = \n");
($code, undef, $err) = run_program($ctl, '--config', $conf, @members);
is($code, 2, 'a file that makes no sense');
like($err, qr/^concordctl: \Q$conf\E, line 1: "metastore" has no value/, '... is told so');

# The sample has every option, each once, with its default, and no other.
my (%help, %sample);
($code, $out) = run_program($daemon, '--help');
while ($out =~ /^  --([a-z-]+)(?: \w+(?:\:(?:\{[^}]*\}|INT in \[[^\]]*\]|\w+))?)?(?:=(\S+))?/mg)
{
	my ($name, $default) = ($1, $2 // '');
	$default =~ s/^\[(.*)\]$/$1/;
	$help{$name} = $default;
}
delete @help{qw(version config lifeline-fd report-fd)};
cmp_ok(scalar(keys %help), '>', 30, 'the options of concordd are understood');
my $before = '';
foreach my $line (split /\n/, slurp_file($sample))
{
	if ($line =~ /^#?([a-z-]+) = (.*)$/)
	{
		ok(!exists $sample{$1}, "the sample has $1 once") if exists $sample{$1};
		$sample{$1} = $2;
		like($before, qr/^# |^#?[a-z-]+ = /, "the sample tells of $1");
	}
	$before = $line;
}
is_deeply([ sort keys %sample ], [ sort keys %help ], 'the sample has the options that there are');
foreach my $name (grep { $_ ne 'dir' && exists $sample{$_} } sort keys %help)
{
	if   ($help{$name} ne '') { is($sample{$name}, $help{$name}, "... the default of $name"); }
	else                      { like($sample{$name}, qr/^none: ./, "... and an example of $name"); }
}

# As it is, and with everything that has a default set to it.
my $text = slurp_file($sample) =~ s/^dir = .*$/dir = $base\/s/mr;
$text =~ s/^#([a-z-]+ = (?!none: ))/$1/mg;
write_conf($text);
$handle = IPC::Run::start([ $daemon, '--config', $conf ], '<', \undef, '>', "$base/s.log", '2>&1');
ok(wait_until(sub { slurp_file("$base/s.log") =~ /ready address/ }), 'concordd runs with the sample') or diag(slurp_file("$base/s.log"));
$handle->signal('TERM');
$handle->finish;

# The unit.
my $unit = '/usr/local/lib/systemd/system/concordd@.service';
my $content = slurp_file($unit);
like($content, qr/^ExecStart=\Q$daemon\E --config \/etc\/concord\/%i\.conf$/m, 'the unit starts what is installed');
mkdir "$base/units";
open(my $copy, '>', "$base/units/concordd\@test.service") or die $!;
print $copy $content;
close($copy);
($code, $out, $err) = run_program('systemd-analyze', 'verify', '--man=no', "$base/units/concordd\@test.service");
is($code, 0, 'systemd takes it');
is($out . $err, '', '... and has nothing to say');
done_testing();
