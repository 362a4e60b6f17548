# The sidecar lives and ends with the server; what may be wrong with the set-up says so.
use strict;
use warnings;
use ConcordTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# Without the preload, CREATE EXTENSION says so.
my $bare = PostgreSQL::Test::Cluster->new('bare');
$bare->init;
$bare->start;
my ($status, $out, $err) = $bare->psql('postgres', 'CREATE EXTENSION concord');
isnt($status, 0, 'CREATE EXTENSION without the preload fails');
like($err, qr/must be loaded via shared_preload_libraries/i, '... and says why');
$bare->stop;

my $node = new_cluster('main');
$node->safe_psql('postgres', 'CREATE TABLE t (a int PRIMARY KEY, b text); INSERT INTO t SELECT g, g::text FROM generate_series(1, 1000) g');
my $dir = $node->data_dir . '/concord';
my $pid = sidecar_pid($node);
ok($pid, 'the launcher started concordd');
is((stat "$dir/concordd.sock")[2] & 0777, 0600, 'its socket is its user\'s only');
is((stat $dir)[2] & 0077, 0, 'its directory too');

# A second one on the same directory is refused.
my $daemon = `pg_config --pkglibdir`;
chomp $daemon;
$daemon .= '/concordd';
my $output = `timeout 60 $daemon --dir $dir --listen unix:$dir/other.sock 2>&1`;
is($? >> 8, 3, 'a second concordd on the directory is refused');
like($output, qr/level=critical role=concordd cannot open dir="\Q$dir\E" reason="[^"]*another concordd[^"]*"/, '... and says why') or diag($output);
ok(kill(0, $pid), 'the first one goes on');

# Clean restart, then immediate.
foreach my $mode ('fast', 'immediate')
{
	$node->stop($mode);
	ok(wait_until(sub { !kill(0, $pid) }, 20), "concordd ended with the server ($mode)");
	$node->start;
	is($node->safe_psql('postgres', 'SELECT count(*), sum(a) FROM t'), '1000|500500', "all rows are there ($mode)");
	is($node->safe_psql('postgres', 'SET enable_seqscan = off; SELECT b FROM t WHERE a = 77'), '77', "and the index ($mode)");
	$node->safe_psql('postgres', 'UPDATE t SET b = b || a');
	$node->safe_psql('postgres', 'UPDATE t SET b = a::text');
	$pid = sidecar_pid($node);
	ok($pid, 'a new concordd runs');
}

# Even when the postmaster is killed with -9.
my $postmaster = (split /\n/, slurp_file($node->data_dir . '/postmaster.pid'))[0];
$node->kill9;
ok(wait_until(sub { !kill(0, $pid) }, 20), 'concordd ended after kill -9 of the postmaster');
$node->start;
is($node->safe_psql('postgres', 'SELECT count(*), sum(a) FROM t'), '1000|500500', 'all rows are there after kill -9');

# DDL state survives: tables created, dropped, truncated.
$node->safe_psql('postgres', 'CREATE TABLE u AS SELECT * FROM t; DROP TABLE t; TRUNCATE u; INSERT INTO u VALUES (1, \'one\')');
$node->stop('immediate');
$node->start;
is($node->safe_psql('postgres', 'SELECT * FROM u'), '1|one', 'DDL survives a crash');

# The library is taken out while there are Concord tables: every use says so, nothing is harmed.
$node->safe_psql('postgres', 'CREATE TABLE h (a int) USING heap; CREATE TABLE p (a int) PARTITION BY LIST (a);
  CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1); CREATE MATERIALIZED VIEW m AS SELECT * FROM u; CREATE INDEX u_b ON u (b)');
$node->adjust_conf('postgresql.conf', 'shared_preload_libraries', "''");
$node->restart;
foreach my $sql (
	'SELECT * FROM u', 'SELECT count(*) FROM u', 'EXPLAIN SELECT * FROM u WHERE a = 1', 'SELECT * FROM p', 'SELECT * FROM m',
	'INSERT INTO u VALUES (2)', 'UPDATE u SET b = 2', 'DELETE FROM u', 'INSERT INTO p VALUES (1)', 'COPY u TO STDOUT',
	'SELECT * FROM u FOR UPDATE', 'CREATE TABLE v (a int) USING concord', 'CREATE TABLE v USING concord AS SELECT 1 AS a',
	'CREATE TABLE v (a int PRIMARY KEY) USING concord', 'CREATE INDEX ON u (a)',
	'DROP TABLE u CASCADE', 'DROP INDEX u_b', 'DROP TABLE p', 'DROP MATERIALIZED VIEW m', 'DROP EXTENSION concord CASCADE',
	'TRUNCATE u', 'VACUUM u', 'VACUUM FULL u', 'ANALYZE u', 'CLUSTER u USING u_b', 'REINDEX TABLE u', 'REINDEX INDEX u_b',
	'ALTER TABLE u ADD COLUMN c int DEFAULT 1', 'ALTER TABLE u SET ACCESS METHOD heap', 'ALTER TABLE h SET ACCESS METHOD concord',
	'REFRESH MATERIALIZED VIEW m', 'SELECT concord.current_lsn()')
{
	($status, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\n$sql");
	ok($err =~ /55000: concord must be loaded via shared_preload_libraries/, "without the library: $sql") or diag($err);
}
($status, $out, $err) = $node->psql('postgres', 'CREATE INDEX ON h USING concord_btree (a)');
like($err, qr/access method concord_btree cannot index table "h"/, 'an index of ours on a heap table is refused as ever');
is($node->safe_psql('postgres', 'SELECT sidecar FROM concord.status'), 'unavailable', 'the status says that there is no sidecar');
is($node->safe_psql('postgres', 'INSERT INTO h VALUES (1) RETURNING a'), '1', 'heap tables are not concerned');
unlike(slurp_file($node->logfile), qr/was terminated by signal (?!9)|PANIC/, 'no backend crashed');
$node->adjust_conf('postgresql.conf', 'shared_preload_libraries', "'concord'");
$node->restart;
is($node->safe_psql('postgres', 'SELECT * FROM u'), '1|one', 'with the library again, all is there');
$node->safe_psql('postgres', 'DROP TABLE p');
$node->stop;
done_testing();
