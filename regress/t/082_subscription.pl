# Logical replication from heap tables into Concord tables: refused, since progress and rows commit apart; allowed, it brings all changes,
# and a crash does not bring them again.
use strict;
use warnings;
use ConcordTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_cluster('main', "wal_level = logical\nmax_wal_senders = 10\nmax_replication_slots = 10\nwal_retrieve_retry_interval = 500ms\nautovacuum = off\n");
(my $connection = $node->connstr('source')) =~ s{'}{''}g;
$node->safe_psql('postgres', 'CREATE DATABASE source; CREATE DATABASE target');
my $tables = 'CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE n (a int, b text); CREATE TABLE p (id int, k text, PRIMARY KEY (id, k)) PARTITION BY LIST (k);
  CREATE TABLE p_a PARTITION OF p FOR VALUES IN (\'a\'); CREATE TABLE p_b PARTITION OF p FOR VALUES IN (\'b\');';
$node->safe_psql('source', "SET default_table_access_method = heap; $tables ALTER TABLE n REPLICA IDENTITY FULL;
  INSERT INTO t SELECT g, 'v' || g FROM generate_series(1, 1000) g; INSERT INTO n VALUES (0, 'first');
  INSERT INTO p SELECT g, CASE g % 2 WHEN 0 THEN 'a' ELSE 'b' END FROM generate_series(1, 100) g;
  CREATE PUBLICATION everything FOR ALL TABLES WITH (publish_via_partition_root = true);
  SELECT pg_create_logical_replication_slot('slot', 'pgoutput')");
$node->safe_psql('target', "CREATE EXTENSION concord; SET default_table_access_method = concord; $tables");
$node->safe_psql('target', "CREATE SUBSCRIPTION moving CONNECTION '$connection' PUBLICATION everything WITH (create_slot = false, slot_name = slot)");

sub contents
{
	return join("\n--\n", map { $node->safe_psql($_[0], $_) } 'SELECT * FROM t ORDER BY id', 'SELECT * FROM n ORDER BY a, b', 'SELECT tableoid::regclass, * FROM p ORDER BY id, k');
}
sub same { return wait_until(sub { contents('source') eq contents('target') }, 60); }

ok(wait_until(sub { slurp_file($node->logfile) =~ /cannot write Concord table "\w+" in a transaction that records the progress of replication/ }), 'refused');
is($node->safe_psql('target', 'SELECT count(*) FROM t'), 0, 'nothing came');
my (undef, undef, $err) = $node->psql('target', "\\set VERBOSITY verbose
SELECT pg_replication_origin_create('tool'); SELECT pg_replication_origin_session_setup('tool'); INSERT INTO t VALUES (1)");
like($err, qr/0A000: cannot write Concord table "t"/, 'so is a tool of its own');
$node->safe_psql('target', 'ALTER DATABASE target SET concord.allow_mixed_writes = on');
ok(same(), 'the copy, once it is allowed');

$node->safe_psql('source', "UPDATE t SET v = 'new' WHERE id < 100; DELETE FROM t WHERE id BETWEEN 200 AND 300; UPDATE t SET id = id + 5000 WHERE id > 900");
$node->safe_psql('source', "INSERT INTO n SELECT g, 'x' FROM generate_series(1, 20) g; UPDATE n SET b = 'y' WHERE a > 10; DELETE FROM n WHERE a < 5");
$node->safe_psql('source', "UPDATE p SET k = 'b' WHERE id % 4 = 0; DELETE FROM p WHERE id % 5 = 0; INSERT INTO p VALUES (1000, 'a')");
ok(same(), 'inserts, updates, deletes, moves between partitions');
$node->safe_psql('source', "BEGIN; TRUNCATE n; INSERT INTO n VALUES (1, 'after'); SAVEPOINT s; INSERT INTO n VALUES (2, 'not'); ROLLBACK TO s; INSERT INTO n VALUES (3, 'and'); COMMIT");
ok(same(), 'TRUNCATE, and a savepoint');

foreach my $i (1 .. 3)
{
	$node->safe_psql('source', "INSERT INTO n VALUES ($i, 'crash'); INSERT INTO t VALUES (10000 + $i, 'crash')");
	ok(same(), 'arrived');
	$node->stop('immediate');
	$node->start;
	ok(wait_ready($node), 'restarted after a crash');
	$node->safe_psql('source', "INSERT INTO n VALUES (100 + $i, 'later')");
	ok(wait_until(sub { $node->safe_psql('target', "SELECT count(*) FROM n WHERE a = 100 + $i") > 0 }), 'the subscription goes on');
	ok(same(), 'nothing came twice') or diag(contents('target'));
}
is($node->safe_psql('target', "SELECT count(*) FROM concord.check('t')"), 0, 'the index is as its table');
$node->safe_psql('target', 'DROP SUBSCRIPTION moving');
$node->stop;
done_testing();
