# A commit is told when it is durable, and a replica that is late may not have applied it yet. Who looks at a table's size right after
# it sees the rows all the same: an ANALYZE that found nothing would leave the table without statistics.
use strict;
use warnings;
use ConcordTest;
use File::Basename;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $pause = PostgreSQL::Test::Utils::tempdir() . '/storage_before_apply';
$ENV{CONCORD_PAUSE_DIR} = dirname($pause);
my $node = new_cluster('main', "autovacuum = off\n");
# Rowids are leased with the first row, by a commit of its own.
$node->safe_psql('postgres', 'CREATE TABLE t (a int); INSERT INTO t VALUES (0); DELETE FROM t');

append_to_file($pause, '');
my ($status, $out, $err) = $node->psql('postgres', 'INSERT INTO t SELECT generate_series(1, 100)');
is("$status $err", '0 ', 'a commit does not wait for a late replica');
my $analyze = start_session($node, 'analyze', 'ANALYZE t;');
# The sweeper may wait for it too.
ok(wait_until(sub { $node->safe_psql('postgres',
			"SELECT wait FROM concord.stat_activity WHERE application_name = 'analyze'") eq 'replica apply' }), 'ANALYZE waits for it');
unlink $pause;
$analyze->{handle}->finish;
is($node->safe_psql('postgres', "SELECT n_distinct FROM pg_stats WHERE tablename = 't'"), '-1', 'and has seen the rows');

# Who looks for a key as of an LSN that the replica has not applied yet, while the row that has it gets another one: it is free then.
# Of the intents of one transaction only so many are known, so that nobody waits for the rows of `many`.
$node->safe_psql('postgres', 'CREATE TABLE one (k int PRIMARY KEY, n int); INSERT INTO one VALUES (1, 0)');
$node->safe_psql('postgres', 'CREATE TABLE many (k int PRIMARY KEY); INSERT INTO many SELECT generate_series(1, 20000)');
sub waits
{
	my ($name, $condition) = @_;
	return wait_until(sub { $node->safe_psql('postgres', "SELECT count(*) FROM $condition AND application_name = '$name'") eq '1' });
}
my $holder = start_session($node, 'holder', 'SELECT pg_advisory_lock(1); SELECT pg_sleep(600);');
ok(waits('holder', "pg_stat_activity WHERE wait_event = 'PgSleep'"), 'a lock is held');
my $writer = start_session($node, 'writer',
	'BEGIN; UPDATE one SET k = 2; UPDATE many SET k = k + 100000; SELECT pg_advisory_lock(1); COMMIT;');
ok(waits('writer', "pg_stat_activity WHERE wait_event = 'advisory'"), 'rows get other keys');
append_to_file($pause, '');
$node->safe_psql('postgres', 'INSERT INTO t VALUES (-1)');
my $upsert = start_session($node, 'upsert', 'INSERT INTO one VALUES (1, 0) ON CONFLICT (k) DO UPDATE SET n = one.n + 1;');
my $insert = start_session($node, 'insert', 'INSERT INTO many VALUES (19999);');
foreach my $name ('upsert', 'insert')
{
	ok(waits($name, "concord.stat_activity WHERE wait = 'replica apply'"), "$name looks for its key");
}
$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'holder'");
$writer->{handle}->finish;
is($writer->{err}, '', 'the keys are given up');
unlink $pause;
$_->{handle}->finish foreach ($upsert, $insert);
is($upsert->{err}, '', 'INSERT ON CONFLICT finds no conflict');
is($node->safe_psql('postgres', 'SELECT * FROM one ORDER BY k'), "1|0\n2|0", '... and leaves the other row as it is');
is($insert->{err}, '', 'INSERT finds no duplicate');
is($node->safe_psql('postgres', 'SELECT count(*), min(k) FROM many'), '20001|19999', '... and has inserted');
$node->stop;
done_testing();
