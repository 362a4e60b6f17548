# An exported snapshot carries its read LSN: who imports it reads the same rows, parallel pg_dump among them. Where it has
# none, Concord tables are refused.
use strict;
use warnings;
use ConcordTest;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_cluster('main');
$node->safe_psql('postgres', 'CREATE TABLE t (a int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 100);
  CREATE TABLE h (a int) USING heap; INSERT INTO h SELECT generate_series(1, 100)');

# A session that has exported a snapshot and keeps its transaction open.
sub export_snapshot
{
	my ($begin) = @_;
	my $session = { in => '', out => '', err => '' };
	$session->{handle} = IPC::Run::start([ 'psql', '-X', '-At', '-q', '-d', $node->connstr('postgres') ],
		'<', \$session->{in}, '>', \$session->{out}, '2>', \$session->{err}, IPC::Run::timeout(60));
	$session->{in} = "$begin; SELECT pg_export_snapshot();\n";
	$session->{handle}->pump until $session->{out} =~ /^([0-9A-F-]+)$/m;
	$session->{id} = $1;
	return $session;
}

sub end_session
{
	my ($session) = @_;
	$session->{in} .= "COMMIT;\n\\q\n";
	$session->{handle}->finish;
}

sub import_snapshot
{
	my ($id, $sql) = @_;
	return $node->psql('postgres', "\\set VERBOSITY verbose\nBEGIN ISOLATION LEVEL REPEATABLE READ; SET TRANSACTION SNAPSHOT '$id'; $sql; COMMIT");
}

my $counts = 'SELECT (SELECT count(*) FROM t), (SELECT count(*) FROM h)';
my $exporter = export_snapshot('BEGIN ISOLATION LEVEL REPEATABLE READ');
$node->safe_psql('postgres', 'DELETE FROM t WHERE a > 50; INSERT INTO t VALUES (1000)');
$node->safe_psql('postgres', 'DELETE FROM h WHERE a > 50; INSERT INTO h VALUES (1000)');
my ($status, $out, $err) = import_snapshot($exporter->{id}, $counts);
is($out, '100|100', 'the importer sees what the exporter sees') or diag($err);
($status, $out, $err) = import_snapshot($exporter->{id}, 'SET LOCAL enable_seqscan = off; SELECT count(*), max(a) FROM t WHERE a > 0');
is($out, '100|100', '... through an index too') or diag($err);
is($node->safe_psql('postgres', $counts), '51|51', 'others see the newest');
end_session($exporter);

($status, $out, $err) = import_snapshot($exporter->{id}, $counts);
isnt($status, 0, 'an exporter that has ended exports nothing');

$exporter = export_snapshot('BEGIN');
($status, $out, $err) = import_snapshot($exporter->{id}, 'SELECT count(*) FROM h; SELECT count(*) FROM t');
like($out, qr/^51$/m, 'a snapshot of READ COMMITTED serves heap tables');
like($err, qr/0A000: Concord tables cannot be read with this imported snapshot/, '... and no others');
end_session($exporter);

$ENV{PGHOST} = $node->host;
$ENV{PGPORT} = $node->port;
my $dir = PostgreSQL::Test::Utils::tempdir();
command_ok([ 'pg_dump', '-Fd', '-j', '4', '-f', "$dir/dump", 'postgres' ], 'pg_dump --jobs');
$node->safe_psql('postgres', 'CREATE DATABASE copy');
command_ok([ 'pg_restore', '-j', '2', '-d', 'copy', "$dir/dump" ], 'pg_restore --jobs');
is($node->safe_psql('copy', $counts), '51|51', 'all rows are there');
$node->stop;
done_testing();
