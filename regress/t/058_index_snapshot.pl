# A transaction whose LSN is known and not registered yet while an index is built, which leaves out what nobody can see; then nobody vouches for
# the page any more, so the LSN cannot be asked for a second time. What the transaction sees by the index is what it sees without.
use strict;
use warnings;
use ConcordTest;
use File::Basename;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $pause = PostgreSQL::Test::Utils::tempdir() . '/snapshot_lsn_read';
my $go = dirname($pause) . '/go';
$ENV{CONCORD_PAUSE_DIR} = dirname($pause);
# Old versions stay, or there would be an error in place of wrong rows.
my $node = new_cluster('main', "autovacuum = off\nconcord.sweep_interval = 0\nconcord.retention = '1h'\n");
$node->safe_psql('postgres', 'CREATE TABLE t (a int PRIMARY KEY, b int); INSERT INTO t VALUES (1, 0)');

my $count = 'SELECT count(*) FROM t WHERE b = 0;';
my $session = start_session($node, 'reads', "SELECT pg_backend_pid();\nBEGIN ISOLATION LEVEL REPEATABLE READ;\n\\! while [ ! -e $go ]; do sleep 0.05; done\n"
	  . "SELECT 'begun';\nSET enable_seqscan = off;\nEXPLAIN (COSTS OFF) $count\n$count\nSET enable_seqscan = on;\nSET enable_indexscan = off;\nSET enable_bitmapscan = off;\n"
	  . "SET enable_indexonlyscan = off;\n$count\nCOMMIT;");
ok(wait_until(sub { eval { $session->{handle}->pump_nb }; $session->{out} =~ /^\d+$/m }), 'a transaction begins');
my ($pid) = $session->{out} =~ /^(\d+)$/m;
append_to_file($pause, '');
append_to_file($go, '');
ok(wait_until(sub { -e "$pause.reached" && slurp_file("$pause.reached") =~ /^$pid$/m }), 'it has an LSN');
kill 'STOP', $pid;
unlink $pause;
$node->safe_psql('postgres', 'UPDATE t SET b = 1; CREATE INDEX t_b ON t (b)');
my $sidecar = sidecar_pid($node);
kill 'STOP', $sidecar;
sleep 4;    # the page's lease ends
kill 'CONT', $pid;
ok(wait_until(sub { eval { $session->{handle}->pump_nb }; $session->{out} =~ /begun/ }), 'it goes on when nobody vouches for the page');
kill 'CONT', $sidecar;
$session->{handle}->finish;
is($session->{err}, '', 'it has no error');
like($session->{out}, qr/t_b/, 'it uses the index');
my (undef, $by_index, $by_scan) = $session->{out} =~ /^(\d+)$/mg;
ok(defined $by_scan, 'it counts twice');
is($by_index, $by_scan, '... and sees by it what it sees without');
$node->stop;
done_testing();
