# An index build reads for as long as it takes, at an LSN of its own: others commit meanwhile, and old versions go as soon as nobody is
# known to need them. Nothing that the build reads may go.
use strict;
use warnings;
use ConcordTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_cluster('main', "concord.retention = 0\n");
# Each row takes a millisecond, so that a build spans many reports of who reads at what.
$node->safe_psql('postgres', <<'EOT');
CREATE FUNCTION slow(i int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$BEGIN PERFORM pg_sleep(0.001); RETURN i; END$$;
CREATE TABLE t (a int, b int);
INSERT INTO t SELECT i, i FROM generate_series(1, 1000) i;
UPDATE t SET b = b + 1;
CREATE TABLE other (a int);
EOT

# Commits all the time, so that the horizon moves.
my $session = start_session($node, 'others',
	'DO $$BEGIN LOOP INSERT INTO other VALUES (1); COMMIT; PERFORM pg_sleep(0.01); END LOOP; END$$;');
ok(wait_until(sub { $node->safe_psql('postgres', 'SELECT count(*) > 10 FROM other') eq 't' }), 'others commit');

foreach my $statement ('CREATE INDEX t_slow ON t (slow(a))', 'REINDEX INDEX t_slow', 'REINDEX TABLE CONCURRENTLY t', 'VACUUM FULL t',
	'CLUSTER t USING t_slow', 'CREATE INDEX CONCURRENTLY t_slow_b ON t (slow(b))')
{
	my $before = $node->safe_psql('postgres', 'SELECT horizon_lsn FROM concord.status');
	my ($status, $out, $err) = $node->psql('postgres', $statement);
	is("$status $err", '0 ', $statement);
	is($node->safe_psql('postgres', "SELECT count(*) FROM concord.check('t')"), '0', 'the index is exact');
	ok(wait_until(sub { $node->safe_psql('postgres', "SELECT horizon_lsn > '$before' FROM concord.status") eq 't' }),
		'the horizon moves on afterwards');
}
$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'others'");
$session->{handle}->finish;

done_testing();
