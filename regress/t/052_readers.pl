# Readers that stay open: shown, warned of, and limited, so that what is kept for them does not grow without end. And reader slots:
# too few are an error with a hint, and those of killed processes come back.
use strict;
use warnings;
use ConcordTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $faulty = faulty_sidecar('--max-readers' => 16);
my $node = new_cluster('main', $faulty->{conf} . "concord.max_reader_age = '8s'\nconcord.reader_warning = '2s'\nconcord.retention = 0\n");

sub sql
{
	my ($status, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\n$_[0]");
	return ($out, $err);
}

sub pid_of { return $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE application_name = '$_[0]'"); }

$node->safe_psql('postgres', 'CREATE TABLE t (a int PRIMARY KEY, b int); INSERT INTO t SELECT i, 0 FROM generate_series(1, 2000) i');

my $old = start_session($node, 'old', "BEGIN ISOLATION LEVEL REPEATABLE READ;\nSELECT sum(b) FROM t;\nSELECT pg_sleep(18);\n"
	  . "SELECT sum(b) FROM t;\nROLLBACK;\nSELECT 'alive', sum(b) > 0 FROM t;");
# A function that returns a set holds on to its arguments between two fetches.
my $holder = start_session($node, 'holder', "BEGIN;\nDECLARE c CURSOR FOR SELECT generate_series(1, 3), b FROM t;\nFETCH c;\n\\! sleep 60\nFETCH c;");
ok(wait_until(sub { (sql("SELECT count(*) FROM concord.readers JOIN pg_stat_activity USING (pid) WHERE application_name IN ('old', 'holder')"))[0] eq '2' }),
	'concord.readers shows both');
my $old_pid = pid_of('old');
my $holder_pid = pid_of('holder');
my $own = $node->safe_psql('postgres', "SELECT view_age IS NOT NULL, read_lsn <= (SELECT committed_lsn FROM concord.status) FROM concord.readers WHERE pid = $holder_pid");
is($own, 't|t', 'with its read LSN and the age of its view');
my $before = $node->safe_psql('postgres', 'SELECT horizon_lsn FROM concord.status');

foreach my $pid ($old_pid, $holder_pid)
{
	ok(wait_until(sub {
		$node->safe_psql('postgres', 'UPDATE t SET b = b + 1 WHERE a < 100');
		slurp_file($node->logfile) =~ /WARNING:  process $pid has been reading Concord tables for \d+ seconds/;
	}), 'the log warns of it');
}
cmp_ok($node->safe_psql('postgres', 'SELECT dead_versions FROM concord.stat_replicas'), '>=', 99, 'what is kept for it is counted');

ok(wait_until(sub { (sql("SELECT count(*) FROM concord.readers WHERE pid = $holder_pid"))[0] eq '0' }, 30), 'who holds a view for too long is ended');
like(slurp_file($node->logfile), qr/terminating process $holder_pid, which has held on to the storage replica/, 'and that is said');
$holder->{handle}->kill_kill;

$old->{handle}->finish;
like($old->{err}, qr/72000: snapshot too old.*HINT: /s, 'an old snapshot is too old in the end');
like($old->{out}, qr/alive\|t/, 'and its session lives on');
# After 2, 4, 8, 16 seconds of its 18; more of them only if this machine takes minutes.
my $times = () = slurp_file($node->logfile) =~ /process $old_pid has been reading/g;
cmp_ok($times, '<=', 8, 'it was not warned of all the time');
ok(wait_until(sub {
	$node->safe_psql('postgres', 'UPDATE t SET b = b + 1 WHERE a < 100');
	(sql("SELECT horizon_lsn > '$before' FROM concord.status"))[0] eq 't';
}), 'the horizon moves on');
ok(wait_until(sub { (sql('SELECT dead_versions FROM concord.stat_replicas'))[0] eq '0' }, 120), 'and nothing dead is left');

# 16 slots, some of them the sidecar's own.
my @readers;
my $hold = "BEGIN;\nDECLARE c CURSOR FOR SELECT * FROM t;\nFETCH c;\nSELECT 'reads';\nSELECT pg_sleep(30);";
push @readers, start_session($node, "reader$_", $hold) foreach 1 .. 20;
ok(wait_until(sub { pump_all(); scalar(grep { $_->{err} =~ /53300/ } @readers) > 0 }, 20), 'too many readers: 53300');
my ($refused) = grep { $_->{err} =~ /53300/ } @readers;
like($refused->{err}, qr/53300: the storage replica has no reader slot left.*HINT: /s, 'with a hint');
ok(scalar(grep { $_->{out} =~ /reads/ } @readers) > 0, 'the others read');
sub pump_all { $_->{handle}->pump_nb foreach @readers; }

# Killed, they leave their slots behind; the server restarts its processes and all can read again.
my $victim = $node->safe_psql('template1', "SELECT max(pid) FROM pg_stat_activity WHERE application_name LIKE 'reader%'");
kill 'KILL', $victim;
$_->{handle}->kill_kill foreach @readers;
ok(wait_ready($node), 'slots of killed processes are free again');
is((sql('SELECT count(*) FROM t'))[0], 2000, 'and rows are read');
unlike(slurp_file($node->logfile), qr/terminated by signal (6|7|11)|PANIC/, 'nothing crashed by itself');
$node->stop;
done_testing();
