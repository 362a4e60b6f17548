# pg_dump, pg_restore and pg_dumpall bring every kind of object over, with the same rows and access methods; a heap database moves in
# through a dump; psql's \d and information_schema show of Concord tables what they show of heap's.
use strict;
use warnings;
use ConcordTest;
use File::Basename;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_cluster('main');
my $objects = dirname(__FILE__) . '/every_object.sql';
my $dir = PostgreSQL::Test::Utils::tempdir();
$ENV{PGHOST} = $node->host;
$ENV{PGPORT} = $node->port;
$ENV{PGTZ} = 'UTC';

sub create_database
{
	my ($name, $access_method) = @_;
	$node->safe_psql('postgres', "CREATE DATABASE $name TEMPLATE template0");
	$node->safe_psql('postgres', "ALTER DATABASE $name SET default_table_access_method = $access_method") if $access_method;
}

sub output_of
{
	my ($out, $err) = run_command(\@_);
	is($err, '', "no complaint from @_[0 .. 1]") or return '';
	$out =~ s/^\\(un)?restrict .*\n//mg;
	return $out;
}

# What makes a database: its definition, and its rows in any order.
sub contents
{
	my ($database) = @_;
	return {
		schema => output_of('pg_dump', '--schema-only', $database),
		rows => join("\n", sort split /\n/, output_of('pg_dump', '--data-only', '--inserts', $database)) };
}

sub is_same
{
	my ($database, $expected, $what) = @_;
	my $got = contents($database);
	ok($got->{$_} eq $expected->{$_}, "$what: same $_") or note(first_difference($got->{$_}, $expected->{$_})) foreach ('schema', 'rows');
}

sub first_difference
{
	my @got = split /\n/, $_[0];
	my @expected = split /\n/, $_[1];
	foreach my $i (0 .. $#expected)
	{
		return "got: " . ($got[$i] // '') . "\nexpected: $expected[$i]" if ($got[$i] // '') ne $expected[$i];
	}
	return 'got more';
}

sub restored
{
	my ($database, @command) = @_;
	create_database($database);
	command_ok([ @command, '-d', $database ], "restored by @command[0 .. 1]");
}

$node->safe_psql('postgres', 'CREATE ROLE dump_reader');
create_database('source');
$node->safe_psql('source', 'CREATE EXTENSION concord; ALTER DATABASE source SET default_table_access_method = concord');
command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', 'source', '-f', $objects ], 'a database with everything');
my $source = contents('source');
my $methods = "SELECT relname, amname FROM pg_class c JOIN pg_am a ON a.oid = c.relam WHERE relnamespace IN ('public'::regnamespace, 'other'::regnamespace) ORDER BY 1";
my $source_methods = $node->safe_psql('source', $methods);
like($source_methods, qr/^on_heap\|heap$/m, 'a heap table among them');
like($source_methods, qr/^event_q2_1\|concord$/m, 'a partition');

# in each format; in parallel; rows only
command_ok([ 'pg_dump', '-Fd', '-j', 4, '-f', "$dir/directory", 'source' ], 'pg_dump -j 4');
command_ok([ 'pg_dump', '-Fc', '-f', "$dir/custom", 'source' ], 'pg_dump -Fc');
command_ok([ 'pg_dump', '-f', "$dir/plain", 'source' ], 'pg_dump');
restored('from_directory', 'pg_restore', '-j', 4, '-e', "$dir/directory");
restored('from_custom', 'pg_restore', '-j', 4, '-e', "$dir/custom");
restored('from_plain', 'psql', '-X', '-q', '-o', '/dev/null', '-v', 'ON_ERROR_STOP=1', '-1', '-f', "$dir/plain");
foreach my $database ('from_directory', 'from_custom', 'from_plain')
{
	is_same($database, $source, $database);
	is($node->safe_psql($database, $methods), $source_methods, "$database: same access methods");
}
is($node->safe_psql('from_directory', "SELECT count(*) FROM pg_class c, concord.check(c.oid) WHERE relkind IN ('r', 'm') AND relam = (SELECT oid FROM pg_am WHERE amname = 'concord')"),
	0, 'indexes are as their tables');
$node->safe_psql('from_plain', 'TRUNCATE owner, other.account, event, event_ref, parent, typed, "Odd ""name""", nothing, on_heap CASCADE');
command_ok([ 'pg_restore', '--data-only', '--disable-triggers', '-j', 2, '-d', 'from_plain', "$dir/directory" ], 'rows only');
my $rows = contents('from_plain')->{rows};
ok($rows eq $source->{rows}, 'all of them') or note(first_difference($rows, $source->{rows}));

# all databases, into another cluster
my $other = PostgreSQL::Test::Cluster->new('other');
$other->init;
$other->append_conf('postgresql.conf', "shared_preload_libraries = 'concord'\n");
$other->start;
command_ok([ 'pg_dumpall', '-f', "$dir/all" ], 'pg_dumpall');
$node->safe_psql('postgres', 'DROP DATABASE from_directory');
$node->stop;
$ENV{PGHOST} = $other->host;
$ENV{PGPORT} = $other->port;
command_ok([ 'psql', '-X', '-q', '-o', '/dev/null', '-f', "$dir/all", 'postgres' ], 'psql takes all of it');
$node = $other;
is_same('source', $source, 'pg_dumpall');
is_same('from_directory', $source, 'and another database');
is($node->safe_psql('source', $methods), $source_methods, 'the access methods, too');

# from heap to Concord: the same objects, made on heap, but for the index that Concord has not; once more to heap, to compare with
create_database('heap_source', 'heap');
command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', 'heap_source', '-f', $objects ], 'everything on heap');
$node->safe_psql('heap_source', 'DROP INDEX on_heap_doc');
command_ok([ 'pg_dump', '-Fd', '-j', 2, '-f', "$dir/heap", 'heap_source' ], 'dumped');
create_database('moved');
$node->safe_psql('moved', 'CREATE EXTENSION concord; ALTER DATABASE moved SET default_table_access_method = concord');
create_database('stayed', 'heap');
command_ok([ 'pg_restore', '-j', 4, '-e', '--no-table-access-method', '-d', $_, "$dir/heap" ], "restored with the default access method of $_") foreach ('moved', 'stayed');
is($node->safe_psql('moved', "SELECT DISTINCT amname FROM pg_class c JOIN pg_am a ON a.oid = c.relam
	WHERE relnamespace IN ('public'::regnamespace, 'other'::regnamespace) AND relkind IN ('r', 'm', 'i') ORDER BY 1"), "concord\nconcord_btree", 'all has moved');
my $heap = contents('heap_source');
my $moved = contents('moved');
ok($moved->{rows} eq $heap->{rows}, 'with all rows') or note(first_difference($moved->{rows}, $heap->{rows}));

# psql's \d and information_schema
sub shown
{
	my ($database, @commands) = @_;
	my $out = output_of('psql', '-X', '-At', '-d', $database, map { ('-c', $_) } @commands);
	$out =~ s/concord_btree/btree/g;
	$out =~ s/\b\Q$database\E\b/database/g;
	$out =~ s/"\d+_\d+_(\d+)_not_null"/"not_null_$1"/g;
	return $out;
}

sub is_shown_alike
{
	my ($what, @commands) = @_;
	my ($got, $expected) = map { join("\n", sort split /\n/, shown($_, @commands)) } ('moved', 'stayed');
	ok($got eq $expected && $got ne '', $what) or note(first_difference($got, $expected));
}
my @relations = split /\n/, $node->safe_psql('stayed', "SELECT '\\d ' || oid::regclass FROM pg_class
	WHERE relnamespace IN ('public'::regnamespace, 'other'::regnamespace) AND relkind <> 'c' ORDER BY 1");
cmp_ok(scalar @relations, '>', 40, 'relations to describe');
is_shown_alike('\d of each', @relations);
is_shown_alike($_, $_) foreach ('\dt *.*er*', '\di public.*', '\dm', '\ds *.*', '\dv', '\dP', '\dp', '\dX', '\dd', '\dT', '\df');
foreach my $view (qw(tables columns table_constraints key_column_usage referential_constraints check_constraints constraint_column_usage
	constraint_table_usage triggers triggered_update_columns views view_column_usage view_table_usage sequences domains
	column_domain_usage column_udt_usage table_privileges column_privileges attributes))
{
	is_shown_alike("information_schema.$view", "SELECT to_jsonb(x) FROM information_schema.$view x WHERE to_jsonb(x)::text ~ '\"(public|other)\"'");
}
$node->stop;
done_testing();
