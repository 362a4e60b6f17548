# Autovacuum comes after changes and goes again, ages advance, VACUUM and its kin say what they do, and the programs around them
# (vacuumdb, reindexdb, clusterdb) work on Concord tables.
use strict;
use warnings;
use ConcordTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_cluster('main', <<'CONF');
autovacuum_naptime = 1
log_autovacuum_min_duration = 0
autovacuum_vacuum_threshold = 100
autovacuum_vacuum_insert_threshold = 100
autovacuum_analyze_threshold = 100
autovacuum_vacuum_scale_factor = 0
autovacuum_vacuum_insert_scale_factor = 0
autovacuum_analyze_scale_factor = 0
CONF
$ENV{PGHOST} = $node->host;
$ENV{PGPORT} = $node->port;

sub verbose { my (undef, undef, $err) = $node->psql('postgres', $_[0]); return $err; }
sub statistic { return $node->safe_psql('postgres', "SELECT $_[0] FROM pg_stat_user_tables WHERE relname = '$_[1]'"); }

# autovacuum: after inserts, after updates; not again without changes
$node->safe_psql('postgres', 'CREATE TABLE t (id int PRIMARY KEY, v int); CREATE TABLE quiet (id int PRIMARY KEY); INSERT INTO quiet VALUES (1);
  INSERT INTO t SELECT g, g % 10 FROM generate_series(1, 1000) g');
ok(wait_until(sub { statistic('autoanalyze_count > 0 AND autovacuum_count > 0', 't') eq 't' }), 'autovacuum comes after inserts');
is($node->safe_psql('postgres', "SELECT reltuples, relpages > 0 FROM pg_class WHERE relname = 't'"), '1000|t', 'and tells the planner');
is($node->safe_psql('postgres', "SELECT n_distinct FROM pg_stats WHERE tablename = 't' AND attname = 'v'"), 10, 'values, too');
$node->safe_psql('postgres', 'UPDATE t SET v = id');
ok(wait_until(sub { $node->safe_psql('postgres', "SELECT n_distinct FROM pg_stats WHERE tablename = 't' AND attname = 'v'") == -1 }), 'it comes after updates');
ok(wait_until(sub { statistic('n_dead_tup = 0 AND n_mod_since_analyze = 0 AND autovacuum_count > 1', 't') eq 't' }), 'and counts from zero again');
my $count = statistic('autovacuum_count, autoanalyze_count', 't');
my $log = -s $node->logfile;
sleep 5;
is(statistic('autovacuum_count, autoanalyze_count', 't'), $count, 'it does not come again without changes');
is(statistic('autovacuum_count, autoanalyze_count', 'quiet'), '0|0', 'nor where nothing has changed');
is(statistic('n_live_tup, n_dead_tup, n_ins_since_vacuum', 't'), '1000|0|0', 'live and dead rows');
my $logged = substr(slurp_file($node->logfile), 0, $log);
like($logged, qr/automatic vacuum of table "postgres.public.t"\n\s*rows: 1000, as many as \d+ pages of heap hold\n.*index "t_pkey": 1000 entries.*system usage/s,
	'the log says what it did');

# ages
my $ages = "SELECT max(age(relfrozenxid)), max(mxid_age(relminmxid)) FROM pg_class WHERE relname IN ('t', 'quiet')";
my ($age, $mxid_age) = split /\|/, $node->safe_psql('postgres', $ages);
cmp_ok($age, '<', 1000000, 'a table has an age');
cmp_ok($mxid_age, '<', 1000000, 'in multixacts, too');
$node->safe_psql('postgres', 'CREATE PROCEDURE burn(n int) LANGUAGE plpgsql AS $$ BEGIN FOR i IN 1..n LOOP PERFORM txid_current(); COMMIT; END LOOP; END $$; CALL burn(3000)');
cmp_ok((split /\|/, $node->safe_psql('postgres', $ages))[0], '>=', 3000, 'it grows');
command_ok([ 'vacuumdb', '--freeze', '--all', '--jobs', 2 ], 'vacuumdb --freeze');
cmp_ok((split /\|/, $node->safe_psql('postgres', $ages))[0], '<', 1000, 'and is young again after VACUUM FREEZE');
cmp_ok($node->safe_psql('postgres', "SELECT age(datfrozenxid) FROM pg_database WHERE datname = 'postgres'"), '<', 1000, 'as is the database');
$node->safe_psql('postgres', "CALL burn(3000)");
command_like([ 'vacuumdb', '--min-xid-age', 3000, '--echo', '-d', 'postgres' ], qr/VACUUM.*public\.t;/, 'vacuumdb finds it by its age');
command_ok([ 'vacuumdb', '--analyze-in-stages', '-d', 'postgres' ], 'vacuumdb --analyze-in-stages');
command_ok([ 'vacuumdb', '--full', '--table', 't', '-d', 'postgres' ], 'vacuumdb --full');
command_ok([ 'vacuumdb', '--parallel', 2, '--disable-page-skipping', '--skip-locked', '--no-truncate', '-d', 'postgres' ], 'vacuumdb with more options');

# autovacuum against wraparound, once the age is reached, and once only
$node->safe_psql('postgres', 'ALTER TABLE quiet SET (autovacuum_freeze_max_age = 100000, autovacuum_enabled = off)');
$node->append_conf('postgresql.conf', 'autovacuum_freeze_max_age = 100000');
$node->restart;
ok(wait_ready($node), 'restarted');
$node->safe_psql('postgres', "CALL burn(101000)");
ok(wait_until(sub { statistic('autovacuum_count > 0', 'quiet') eq 't' }, 120), 'a table comes of age');
ok(wait_until(sub { (split /\|/, $node->safe_psql('postgres', $ages))[0] < 50000 }), 'and is young again');
ok(wait_until(sub { $node->safe_psql('postgres', "SELECT age(datfrozenxid) < 100000 FROM pg_database WHERE datname = 'postgres'") eq 't' }), 'the database, too');
like(slurp_file($node->logfile), qr/automatic vacuum to prevent wraparound of table "postgres.public.quiet"/, 'the log tells why');
$count = statistic('autovacuum_count', 'quiet');
sleep 4;
is(statistic('autovacuum_count', 'quiet'), $count, 'it does not come again');

# what statements say
like(verbose('VACUUM VERBOSE t'), qr/vacuuming "postgres.public.t".*finished vacuuming "postgres.public.t"\nrows: 1000, .*index "t_pkey": 1000 entries/s, 'VACUUM VERBOSE');
like(verbose('VACUUM (FULL, VERBOSE) t'), qr/"public.t": found 0 removable, 1000 nonremovable row versions/, 'VACUUM FULL VERBOSE');
like(verbose('ANALYZE VERBOSE t'), qr/"t": scanned \d+ of \d+ pages, containing 1000 live rows and 0 dead rows; 1000 rows in sample/, 'ANALYZE VERBOSE');
like(verbose('CLUSTER VERBOSE t USING t_pkey'), qr/clustering "public.t" using index scan on "t_pkey".*1000 nonremovable/s, 'CLUSTER VERBOSE');
like(verbose('REINDEX (VERBOSE) TABLE t'), qr/index "t_pkey" was reindexed/, 'REINDEX VERBOSE');
like(verbose('REINDEX (VERBOSE, CONCURRENTLY) TABLE t'), qr/index "public.t_pkey" was reindexed.*table "public.t" was reindexed/s, 'REINDEX CONCURRENTLY VERBOSE');
foreach my $what ('SCHEMA public', 'SCHEMA CONCURRENTLY public', 'DATABASE postgres', 'INDEX t_pkey', 'INDEX CONCURRENTLY t_pkey')
{
	my ($status) = $node->psql('postgres', "REINDEX $what");
	is($status, 0, "REINDEX $what");
}
command_ok([ 'reindexdb', '--concurrently', '--jobs', 2, '--table', 't', '-d', 'postgres' ], 'reindexdb');
command_ok([ 'clusterdb', '--table', 't', '-d', 'postgres' ], 'clusterdb');
$node->safe_psql('postgres', 'CREATE INDEX CONCURRENTLY t_v ON t (v); DROP INDEX CONCURRENTLY t_v');
is($node->safe_psql('postgres', 'SELECT count(*) FROM concord.check(\'t\')'), 0, 'the index is as the table');
is($node->safe_psql('postgres', 'SELECT count(*), sum(v) FROM t'), '1000|500500', 'the rows as they were');

# DROP EXTENSION leaves Postgres' own functions as they were
$node->safe_psql('postgres', 'CREATE DATABASE extension; CREATE DATABASE never');
$node->safe_psql('extension', 'CREATE EXTENSION concord; DROP EXTENSION concord');
my $functions = "SELECT string_agg(p::text, ' ' ORDER BY oid) FROM pg_proc p WHERE proname LIKE 'pg%size'";
is($node->safe_psql('extension', $functions), $node->safe_psql('never', $functions), 'functions without a support function');
is($node->safe_psql('extension', "SELECT count(*) FROM pg_depend WHERE objid < 16384 AND refobjid >= 16384"), 0, 'nothing of Postgres depends on it');
is($node->safe_psql('extension', "CREATE TABLE h (a int) USING heap; INSERT INTO h VALUES (1); SELECT pg_total_relation_size('h')"), 8192, 'and they work');

# ages advance without a sidecar, too
$node->append_conf('postgresql.conf', "concord.embedded = off\nconcord.directory = '/nonexistent'\nconcord.read_timeout = 1s\nautovacuum = off\n");
$node->restart;
$node->safe_psql('postgres', 'CALL burn(3000)');
my ($status, undef, $err) = $node->psql('postgres', 'VACUUM FREEZE t');
isnt($status, 0, 'VACUUM fails without a sidecar') or diag($err);
cmp_ok($node->safe_psql('postgres', "SELECT age(relfrozenxid) FROM pg_class WHERE relname = 't'"), '<', 1000, 'the age is told all the same');
$node->stop;
done_testing();
