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
$node->stop;
done_testing();
