# The sweep never takes what is in use: storage of open transactions, of savepoints, of index builds that take long, of relations
# on their way to another tablespace, over restarts of the sidecar, and under a load of DDL with kills.
use strict;
use warnings;
use ConcordTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $kills = $ENV{CONCORD_KILLS} || 3;
my $node = new_cluster('main', "concord.sweep_interval = 1s\n");
my $space = PostgreSQL::Test::Utils::tempdir();
$node->safe_psql('postgres', "CREATE TABLESPACE elsewhere LOCATION '$space'");

sub sweep { return $node->psql('postgres', 'SELECT concord.sweep()'); }
# rows by scan and by index; "dropped" before them if storage is on its way out but can still be read
sub counts
{
	my ($table) = @_;
	my $dropped = $node->safe_psql('postgres', "SELECT 1 FROM (SELECT '$table'::regclass AS r UNION SELECT indexrelid FROM pg_index
	  WHERE indrelid = '$table'::regclass) AS x WHERE concord.relation_size(r) = 0 LIMIT 1");
	return ($dropped ? "dropped " : "") . join ' ', map { $node->safe_psql('postgres', "SET enable_seqscan = $_; SET enable_indexscan = " . ($_ eq 'on' ? 'off' : 'on')
			. "; SET enable_bitmapscan = off; SELECT count(*) FROM $table WHERE a > 0") } qw(on off);
}

# ---- transactions that stay open ----

$node->safe_psql('postgres', join '', map { "CREATE TABLE $_ (a int PRIMARY KEY, b int); INSERT INTO $_ SELECT g, g FROM generate_series(1, 3000) g;" }
	  qw(wide cut moved built rebuilt));
my %open = (
	made => 'CREATE TABLE made AS SELECT g AS a, g AS b FROM generate_series(1, 20000) g; CREATE INDEX ON made (a);',
	saved => 'CREATE TABLE saved AS SELECT g AS a FROM generate_series(1, 2000) g; CREATE INDEX ON saved (a); SAVEPOINT s; TRUNCATE saved;
	  INSERT INTO saved VALUES (1); CREATE TABLE never AS SELECT * FROM generate_series(1, 1000); ROLLBACK TO s; INSERT INTO saved VALUES (2001);',
	wide => 'ALTER TABLE wide ALTER COLUMN b TYPE bigint;',
	cut => 'TRUNCATE cut; INSERT INTO cut SELECT g, g FROM generate_series(1, 7) g;',
	moved => 'ALTER TABLE moved SET TABLESPACE elsewhere; ALTER INDEX moved_pkey SET TABLESPACE elsewhere;',
);
my $lock = start_session($node, 'lock', 'SELECT pg_advisory_lock(1); SELECT pg_sleep(600);');
ok(wait_until(sub { $node->safe_psql('postgres', "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted") == 1 }), 'locked');
# CREATE INDEX CONCURRENTLY waits for transactions that began before
my @sessions = map { start_session($node, "ddl_$_", "BEGIN; $open{$_} SELECT pg_advisory_xact_lock_shared(1); COMMIT; \\echo done :ERROR") } sort keys %open;
push @sessions, start_session($node, 'ddl_reader', 'BEGIN; LOCK TABLE built, rebuilt IN ROW EXCLUSIVE MODE; SELECT pg_advisory_xact_lock_shared(1); COMMIT; \echo done :ERROR');
sub waiting
{
	my ($wait_event, $count) = @_;
	return wait_until(sub { $node->safe_psql('postgres',
				"SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'ddl%' AND wait_event = '$wait_event'") == $count });
}
ok(waiting('advisory', 6), 'transactions are open');
push @sessions, start_session($node, 'ddl_build', 'CREATE INDEX CONCURRENTLY built_b ON built (b); \echo done :ERROR');
push @sessions, start_session($node, 'ddl_rebuild', 'REINDEX TABLE CONCURRENTLY rebuilt; \echo done :ERROR');
ok(waiting('virtualxid', 2), 'index builds wait') or diag($node->safe_psql('postgres', "SELECT application_name, wait_event, query FROM pg_stat_activity WHERE application_name LIKE 'ddl%'"));

foreach my $round (1, 2)
{
	my ($status, $out, $err) = sweep();
	is($out, 0, "round $round: nothing is swept");
	like($err, qr/left alone until a running transaction/, "round $round: what cannot be decided is told");
	if ($round == 1)
	{
		kill 'KILL', sidecar_pid($node);
		ok(wait_ready($node), 'the sidecar is back');
	}
}
$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'lock'");
eval { $_->{handle}->finish } foreach $lock, @sessions;
is(join('', map { $_->{out} =~ /done false/ ? 1 : 0 } @sessions), '1' x 8, 'all have committed') or diag(map { $_->{err} } @sessions);
is(sweep_until_decided(), 0, 'nothing is swept when they are done');
is(counts('made'), '20000 20000', 'made in an open transaction');
is(counts('saved'), '2001 2001', 'rolled back to a savepoint');
is(counts('wide'), '3000 3000', 'rewritten');
is(counts('cut'), '7 7', 'truncated');
is(counts('moved'), '3000 3000', 'in another tablespace');
is($node->safe_psql('postgres', 'SET enable_seqscan = off; SELECT count(*) FROM built WHERE b > 0'), 3000, 'index built concurrently');
is(counts('rebuilt'), '3000 3000', 'index rebuilt concurrently');

# The number swept by a sweep that leaves nothing undecided.
sub sweep_until_decided
{
	my $swept = 0;
	wait_until(sub { my (undef, $out, $err) = sweep(); $swept += $out; return $err !~ /left alone/; });
	return $swept;
}

# ---- a load of DDL; a client fails at the first wrong count ----

my $script = PostgreSQL::Test::Utils::tempdir() . '/ddl.sql';
my $check = 'SELECT 1 / (count(*) = 200 AND sum(a) = 20100)::int FROM s:client_id WHERE a > 0;';
# PostgreSQL loses a row of pg_class that a transaction has changed and takes back while VACUUM FULL rewrites pg_class: it meets the old row
# while its successor is of a transaction under way, and the successor when that has aborted (rewrite_heap_dead_tuple).
my $taken_back = 'SELECT pg_advisory_xact_lock_shared(7);';
append_to_file($script, <<"SQL");
BEGIN;
DROP TABLE IF EXISTS s:client_id;
CREATE TABLE s:client_id AS SELECT g AS a, g AS b FROM generate_series(1, 200) g;
CREATE INDEX ON s:client_id (a);
COMMIT;
$check
ALTER TABLE s:client_id ALTER COLUMN b TYPE bigint;
$check
BEGIN;
$taken_back
TRUNCATE s:client_id;
INSERT INTO s:client_id VALUES (1);
ROLLBACK;
$check
BEGIN;
TRUNCATE s:client_id;
INSERT INTO s:client_id SELECT g, g FROM generate_series(1, 200) g;
COMMIT;
$check
REINDEX TABLE s:client_id;
ALTER TABLE s:client_id SET TABLESPACE elsewhere;
$check
BEGIN;
$taken_back
SAVEPOINT p;
ALTER TABLE s:client_id ALTER COLUMN b TYPE text;
ROLLBACK TO p;
ALTER TABLE s:client_id SET TABLESPACE pg_default;
COMMIT;
$check
SQL
my $sweeps = PostgreSQL::Test::Utils::tempdir() . '/sweep.sql';
append_to_file($sweeps, "SELECT concord.sweep();\n");
my $spoil = PostgreSQL::Test::Utils::tempdir() . '/class.sql';	# pg_class is rewritten under the sweep
append_to_file($spoil, "SELECT pg_advisory_lock(7);\nVACUUM FULL pg_class;\nSELECT pg_advisory_unlock(7);\nANALYZE;\n\\sleep 200 ms\n");

# Three programs at once for so long.
sub start_load
{
	my ($seconds) = @_;
	return map {
		my ($file, $clients) = @$_;
		my $load = { out => '', err => '' };
		$load->{handle} = IPC::Run::start([ 'pgbench', '-n', '-c', $clients, '-T', $seconds, '-f', $file, $node->connstr('postgres') ],
			'<', \undef, '>', \$load->{out}, '2>', \$load->{err}, IPC::Run::timeout(300));
		$load;
	} [ $script, 4 ], [ $sweeps, 1 ], [ $spoil, 1 ];
}

foreach my $load (start_load(4))
{
	$load->{handle}->finish;
	is($load->{handle}->result(0), 0, 'a load without errors') or diag($load->{err});
	my ($done) = $load->{out} =~ /transactions actually processed: (\d+)/;
	cmp_ok($done, '>', 0, "$done times");
}

foreach my $round (1 .. $kills)
{
	my $victim = (qw(sidecar backend postmaster))[$round % 3];
	my @load = start_load(30);
	sleep 0.5 + rand 2;
	if ($victim eq 'sidecar')
	{
		kill 'KILL', sidecar_pid($node);
		ok(wait_ready($node), "round $round: it commits again after kill -9 of the sidecar");
	}
	else
	{
		my $postmaster = (split /\n/, slurp_file($node->data_dir . '/postmaster.pid'))[0];
		my $backend = $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE query LIKE '% s_ %' AND application_name = 'pgbench' LIMIT 1");
		$victim eq 'backend' && $backend ? kill 'KILL', $backend : $node->kill9;
		if ($victim eq 'postmaster' || !$backend)
		{
			wait_until(sub { !kill(0, $postmaster) }, 20);
			$node->start;
		}
		ok(wait_ready($node), "round $round: it commits again after kill -9 of a $victim");
	}
	kill 'TERM', map { $_->{handle}->{KIDS}[0]{PID} } @load;
	eval { $_->{handle}->finish } foreach @load;
	unlike(join('', map { $_->{err} } @load), qr/division by zero|internal|XX0/, "round $round: no wrong count");
	wait_until(sub { $node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgbench'") == 0 });
	sweep_until_decided();
	is($node->safe_psql('postgres', 'SELECT count(*) FROM concord.orphans'), 0, "round $round: no orphans after the sweep");
	my @tables = split /\n/, $node->safe_psql('postgres', "SELECT relname FROM pg_class WHERE relname ~ '^s[0-3]\$'");
	is(join(' ', map { counts($_) } @tables), join(' ', map { '200 200' } @tables), "round $round: @tables");
}
is(counts('made'), '20000 20000', 'a table that nobody touched');

$node->stop;
done_testing();
