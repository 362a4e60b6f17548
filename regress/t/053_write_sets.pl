# Large write sets: over concord.max_write_set, out of memory, many at once through small buffers. An error or a success, never a
# crash; the session goes on and its memory comes back.
use strict;
use warnings;
use ConcordTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_cluster('main', "concord.gateway_buffer = '4kB'\nmax_connections = 20\n");
$node->safe_psql('postgres', 'CREATE TABLE t (a int, b text)');
my $rows = "INSERT INTO t SELECT i, repeat(md5(i::text), 100) || md5((i + 1)::text) FROM generate_series(1, 20000) i";

# Resident memory of the session's own process, in kB.
my $memory = "SELECT 'memory ' || (regexp_match(pg_read_file('/proc/' || pg_backend_pid() || '/status'), 'VmRSS:\\s+(\\d+)'))[1];\n";
my $session = start_session($node, 'large', "SET concord.max_write_set = '1MB';\n$memory" . "INSERT INTO t VALUES (-1, 'before');\n"
	  . join('', map { "BEGIN;\n$rows;\nCOMMIT;\n" } 1 .. 5) . "INSERT INTO t VALUES (-2, 'after');\n$memory");
$session->{handle}->finish;
my $errors = () = $session->{err} =~ /ERROR:  54000: .*write set/g;
is($errors, 5, 'over concord.max_write_set: 54000');
like($session->{err}, qr/HINT: .*concord\.max_write_set/, 'the hint names the setting');
my ($from, $to) = $session->{out} =~ /memory (\d+)/g;
cmp_ok($to - $from, '<', 40_000, 'memory comes back');
is($node->safe_psql('postgres', 'SELECT count(*) FROM t'), 2, 'the session goes on, nothing of the refused ones is there');

# Out of memory in the middle of a write set.
my $starved = start_session($node, 'starved', "INSERT INTO t VALUES (-3, 'x');\nSELECT count(*) FROM t;\nSELECT pg_sleep(2);\nBEGIN;\n"
	  . "INSERT INTO t SELECT i, repeat(md5(i::text), 100) FROM generate_series(1, 2000000) i;\nCOMMIT;\nINSERT INTO t VALUES (-4, 'y');\n"
	  . "SELECT 'alive';");
ok(wait_until(sub { ($node->psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'starved' AND query LIKE '%pg_sleep%'"))[1] eq '1' }),
	'a session has mapped the replica');
my $pid = $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE application_name = 'starved'");
my ($size_kb) = slurp_file("/proc/$pid/status") =~ /VmSize:\s+(\d+)/;
system('prlimit', '--pid', $pid, '--as=' . ($size_kb + 60_000) * 1024) == 0 or die 'prlimit';
$starved->{handle}->finish;
like($starved->{err}, qr/ERROR:  53200: out of memory/, 'out of memory: 53200');
like($starved->{out}, qr/alive/, 'the session goes on');
is($node->safe_psql('postgres', 'SELECT count(*) FROM t'), 4, 'and nothing of its transaction is there');

# Many at once, each far larger than the shared memory of its slot.
my @sessions = map { start_session($node, "many$_", "$rows;") } 1 .. 6;
$_->{handle}->finish foreach @sessions;
is(join('', map { $_->{err} } @sessions), '', 'large write sets go through small buffers in pieces');
is($node->safe_psql('postgres', 'SELECT count(*) FROM t'), 4 + 6 * 20000, 'whole');
unlike(slurp_file($node->logfile), qr/server process .* was terminated by signal|PANIC/, 'no backend crashed');
$node->stop;
done_testing();
