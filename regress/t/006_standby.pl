# Concord's rows are not in WAL: a standby starts no sidecar and refuses Concord tables, and everything else works there.
use strict;
use warnings;
use ConcordTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = PostgreSQL::Test::Cluster->new('primary');
$primary->init(allows_streaming => 1);
$primary->append_conf('postgresql.conf', "shared_preload_libraries = 'concord'\n");
$primary->start;
$primary->safe_psql('postgres', 'CREATE EXTENSION concord; CREATE TABLE c (a int PRIMARY KEY) USING concord;
  INSERT INTO c VALUES (1); CREATE TABLE h (a int) USING heap; INSERT INTO h VALUES (1)');
my ($status, $out, $err);
$primary->backup('copy');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'copy', has_streaming => 1);
$standby->start;
$primary->safe_psql('postgres', 'INSERT INTO h VALUES (2)');
$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));

is($standby->safe_psql('postgres', 'SELECT count(*) FROM h'), '2', 'heap tables are read on a standby');
is($standby->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'concord%'"), '0',
	'no worker of ours runs on a standby');
is(sidecar_pid($standby), undef, 'nor does a sidecar');
foreach my $sql ('SELECT * FROM c', 'SELECT count(*) FROM c WHERE a = 1', 'EXPLAIN SELECT * FROM c', 'COPY c TO STDOUT',
	'SELECT concord.current_lsn()')
{
	($status, $out, $err) = $standby->psql('postgres', "\\set VERBOSITY verbose\n$sql");
	ok($err =~ /0A000: Concord tables cannot be used during recovery/, "refused: $sql") or diag($err);
}
is($primary->safe_psql('postgres', 'INSERT INTO c VALUES (2); SELECT count(*) FROM c'), '2', 'the primary goes on');
unlike(slurp_file($standby->logfile), qr/was terminated by signal|PANIC|started concord sidecar/, 'the log of the standby is clean');

$standby->stop;
$primary->stop;
done_testing();
