# Databases: templates with Concord tables are refused, a copy made behind the library's back shares nothing, dropped databases
# and extensions leave no storage, tablespaces move tables and keep rows; servers that share a sidecar leave each other's alone.
use strict;
use warnings;
use ConcordTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use File::Basename;
use Test::More;

my $pause = PostgreSQL::Test::Utils::tempdir() . '/sweep_catalog_read';
$ENV{CONCORD_PAUSE_DIR} = dirname($pause);

my $node = new_cluster('main', "concord.sweep_interval = 0\n");

sub orphans { return $node->safe_psql('postgres', 'SELECT count(*) FROM concord.orphans'); }
sub error_of { my (undef, undef, $err) = $node->psql($_[0], "\\set VERBOSITY verbose\n$_[1]"); return $err; }

my $tables = 'CREATE EXTENSION concord; CREATE TABLE t (a int PRIMARY KEY, b text);'
  . "INSERT INTO t SELECT g, 'x' || g FROM generate_series(1, 100) g; CREATE INDEX ON t (b);";

# CREATE DATABASE
$node->safe_psql('postgres', 'CREATE DATABASE source');
$node->safe_psql('source', $tables);
foreach my $strategy ('wal_log', 'file_copy')
{
	like(error_of('postgres', "CREATE DATABASE copy TEMPLATE source STRATEGY $strategy"),
		qr/0A000: cannot create a database from template "source": it has Concord tables.*TEMPLATE template0/s, "refused: $strategy");
}
$node->safe_psql('template1', $tables);
like(error_of('postgres', 'CREATE DATABASE copy'), qr/0A000: cannot create a database from template "template1"/, 'refused: tables in template1');
$node->safe_psql('postgres', 'CREATE DATABASE empty TEMPLATE template0');
like(error_of('source', 'CREATE DATABASE copy TEMPLATE source'), qr/0A000/, 'refused from within the template');
like(error_of('postgres', 'BEGIN; CREATE DATABASE copy TEMPLATE source'), qr/25001/, 'in a transaction block Postgres refuses');
$node->safe_psql('template1', 'DROP EXTENSION concord CASCADE; CREATE EXTENSION concord');
$node->safe_psql('postgres', 'CREATE DATABASE copy');
is($node->safe_psql('copy', 'CREATE TABLE t AS SELECT 1 AS a; SELECT * FROM t'), 1, 'a template with the extension alone');
$node->safe_psql('postgres', 'CREATE ROLE somebody LOGIN');
my (undef, undef, $denied) = $node->psql('postgres', 'CREATE DATABASE no TEMPLATE source', extra_params => [ '-U', 'somebody' ]);
like($denied, qr/permission denied to create database/, "without the privilege it is Postgres' own refusal");
is(orphans(), 0, 'storage of other databases is in use');

# ALTER DATABASE SET TABLESPACE, ALTER TABLE SET TABLESPACE, tables in another tablespace
my $space = PostgreSQL::Test::Utils::tempdir();
$node->safe_psql('postgres', "CREATE TABLESPACE elsewhere LOCATION '$space'");
$node->safe_psql('postgres', 'ALTER DATABASE source SET TABLESPACE elsewhere');
$node->safe_psql('copy', 'CREATE TABLE u TABLESPACE elsewhere AS SELECT 1 AS a; ALTER TABLE t SET TABLESPACE elsewhere');
is(orphans(), 0, 'in other tablespaces too');
is($node->safe_psql('postgres', 'SELECT concord.sweep()'), 0, 'nothing is swept');
is($node->safe_psql('source', "SELECT count(*), count(b) FROM t; SET enable_seqscan = off; SELECT a FROM t WHERE b = 'x7'"), "100|100\n7", 'its rows are there');
is($node->safe_psql('copy', 'SELECT (SELECT sum(a) FROM t), (SELECT sum(a) FROM u)'), '1|1', 'and those of moved tables');

# The commit of a move empties the old file between the sweep's look at the catalog and its look at the files.
append_to_file($pause, '');
my $sweep = start_session($node, 'sweep', 'SELECT concord.sweep();');
ok(wait_until(sub { -e "$pause.reached" }), 'the sweep has read a catalog');
foreach my $database ('copy', 'source')
{
	$node->safe_psql($database, 'ALTER TABLE t SET TABLESPACE pg_default');
	$node->safe_psql($database, 'ALTER INDEX t_pkey SET TABLESPACE pg_default') if $database eq 'source';
}
unlink $pause;
$sweep->{handle}->finish;
is($sweep->{out}, "0\n", 'nothing is swept') or diag($sweep->{err});
is($node->safe_psql('source', "SELECT count(*) FROM t; SET enable_seqscan = off; SELECT count(*) FROM t WHERE a > 0; SELECT concord.relation_size('t') > 0"),
	"100\n100\nt", 'the rows that moved meanwhile are there');

# A copy made without the library: nothing keeps Postgres from it then.
sub preload
{
	my ($library) = @_;
	$node->adjust_conf('postgresql.conf', 'shared_preload_libraries', "'$library'");
	$node->adjust_conf('postgresql.conf', 'default_table_access_method', $library eq '' ? "'heap'" : "'concord'");
	$node->restart;
}
preload('');
my $oid = $node->safe_psql('postgres', "SELECT oid FROM pg_database WHERE datname = 'copy'");
$node->safe_psql('postgres', "CREATE DATABASE shared TEMPLATE copy; ");
preload('concord');
ok(wait_ready($node), 'it commits again');
like(error_of('shared', 'SELECT * FROM t'), qr/0A000: .*copied from another database/, 'the copy has no rows');
like(error_of('shared', 'INSERT INTO t VALUES (2)'), qr/0A000: .*copied from another database/, 'and takes none');
like(error_of('postgres', 'CREATE DATABASE again TEMPLATE shared'), qr/0A000/, 'it is no template either');
is(orphans(), 0, 'what the copy names is in use by the template');
$node->safe_psql('shared', 'DROP TABLE t, u');
$node->safe_psql('postgres', 'SELECT concord.sweep()');
is($node->safe_psql('copy', 'SELECT (SELECT sum(a) FROM t), (SELECT sum(a) FROM u)'), '1|1', 'dropping there drops nothing here');

# A copy of the copy, in a database that has the OID of the one that had the rows. The sweep has disowned what it names before it can
# sweep that.
$node->safe_psql('copy', 'CREATE TABLE kept (a int PRIMARY KEY); INSERT INTO kept VALUES (1)');
preload('');
$node->safe_psql('postgres', 'DROP DATABASE shared');
$node->safe_psql('postgres', 'CREATE DATABASE shared TEMPLATE copy');
preload('concord');
ok(wait_ready($node), 'it commits again');
$node->safe_psql('postgres', 'SELECT concord.sweep()');
is($node->safe_psql('copy', 'SELECT a FROM kept'), '1', 'the rows are where they were');
$node->safe_psql('postgres', 'DROP DATABASE copy');
ok(wait_until(sub { orphans() == 0 }), 'and go with their database');
preload('');
$node->safe_psql('postgres', "CREATE DATABASE again TEMPLATE shared OID $oid");
preload('concord');
ok(wait_ready($node), 'it commits again');
like(error_of('again', $_), qr/0A000: .*copied from another database/, "nothing is taken for its storage: $_")
  foreach ('SELECT * FROM kept', 'INSERT INTO kept VALUES (2)', 'SELECT * FROM t');
$node->safe_psql('postgres', "DROP DATABASE $_") foreach ('again', 'shared');
is(orphans(), 0, 'nor left behind');

# DROP DATABASE
sub storages { return $node->safe_psql('postgres', 'SELECT storages FROM concord.status'); }
my $before = storages();
$node->safe_psql('postgres', 'DROP DATABASE source');
ok(wait_until(sub { storages() == $before - 3 && orphans() == 0 }), 'DROP DATABASE takes a table and two indexes along') or diag(storages(), " of $before");

# DROP EXTENSION
$before = storages();
$node->safe_psql('postgres', 'CREATE DATABASE cascade');
$node->safe_psql('cascade', "DROP EXTENSION concord; $tables CREATE MATERIALIZED VIEW m AS SELECT * FROM t");
is(storages(), $before + 4, 'a table, two indexes, a materialized view');
$node->safe_psql('cascade', 'DROP EXTENSION concord CASCADE');
ok(wait_until(sub { storages() == $before }), 'DROP EXTENSION CASCADE takes them along') or diag(storages(), " of $before");
is($node->safe_psql('postgres', 'SELECT concord.sweep()'), 0, 'the sweep has nothing to do');
$node->safe_psql('cascade', $tables);
is($node->safe_psql('cascade', 'SELECT count(*) FROM t'), 100, 'CREATE EXTENSION works again');

# A table whose file is damaged: no storage can be said to be nobody's.
my $file = $node->data_dir . '/' . $node->safe_psql('cascade', "SELECT pg_relation_filepath('t')");
$node->stop;
truncate($file, 0) or die $!;
$node->start;
ok(wait_ready($node), 'it commits again');
like(error_of('postgres', 'SELECT concord.sweep()'), qr/XX001: relation "t" of database "cascade" has no Concord metapage/, 'the sweep says which');
$node->safe_psql('cascade', 'DROP TABLE t');
is($node->safe_psql('postgres', 'SELECT concord.sweep()'), 1, 'when it is dropped its rows are swept');

# Two servers, one sidecar.
my $second = PostgreSQL::Test::Cluster->new('second');
$second->init;
my $dir = $node->data_dir . '/concord';
$second->append_conf('postgresql.conf', "shared_preload_libraries = 'concord'\ndefault_table_access_method = 'concord'\n"
	  . "concord.embedded = off\nconcord.directory = '$dir'\nconcord.sweep_interval = 0\n");
$second->start;
$second->safe_psql('postgres', 'CREATE EXTENSION concord; CREATE TABLE s (a int PRIMARY KEY); INSERT INTO s SELECT generate_series(1, 50)');
$node->safe_psql('postgres', 'CREATE TABLE f AS SELECT generate_series(1, 60) AS a');
$second->safe_psql('postgres', "CREATE TABLE s$_ AS SELECT $_ AS a") foreach 1 .. 20;	# more than one lease
is($node->safe_psql('postgres', 'SELECT concord.sweep()'), 0, "the first server sweeps nothing of the second's");
is($second->safe_psql('postgres', 'SELECT concord.sweep()'), 0, "nor the second of the first's");
is($second->safe_psql('postgres', 'SELECT count(*) FROM s'), 50, 'rows of the second');
is($node->safe_psql('postgres', 'SELECT count(*) FROM f'), 60, 'rows of the first');
$second->stop;

$node->stop;
done_testing();
