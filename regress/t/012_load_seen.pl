# Rows that were loaded into a new table are seen by the next statement, however late the adjudicator hears that the replica has
# applied them. Chunks of a load are answered when they are durable, and its end looks into the replica itself.
use strict;
use warnings;
use ConcordTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $dir = PostgreSQL::Test::Utils::tempdir();
my $point = "$dir/storage_applied";
$ENV{CONCORD_PAUSE_DIR} = $dir;
my $node = new_cluster('main', '');

# The first row brings what is committed before rows can be: leases of ids.
my $session = start_session($node, 'loader', <<END);
BEGIN;
CREATE TABLE t (a int);
COPY t FROM PROGRAM 'echo 1';
\\! touch $point
COPY t FROM PROGRAM 'echo 2';
COMMIT;
SELECT 'rows ' || count(*) FROM t;
END
ok(wait_until(sub { -e "$point.reached" }, 30), 'the replica has applied the second row, and told nobody');
sleep 1;	# time enough to go wrong in
unlink $point;
$session->{handle}->finish;
like($session->{out}, qr/^rows 2$/m, 'the next statement sees both');
is($session->{err}, '', 'without an error');

# Several chunks are on their way when the sidecar is killed. Each is sent again, and all rows are there once; so are those of a rewrite.
$node->safe_psql('postgres', 'CREATE TABLE v AS SELECT i AS a, repeat($$v$$, 100) AS b FROM generate_series(1, 200000) i');
$session = start_session($node, 'killed', <<'END' . "\\! touch $dir/loaded\n");
SET concord.commit_timeout = '60s';
SET concord.read_timeout = '60s';
BEGIN;
CREATE TABLE u (a int, b text);
COPY u FROM PROGRAM 'for part in 1 2 3 4 5 6 7 8; do seq -f "$part%06.0f,$(printf %0100d 0)" 1 100000; sleep 0.1; done' (FORMAT csv);
ALTER TABLE v ALTER a TYPE bigint;
COMMIT;
END
my $chunks = sub { $node->safe_psql('postgres', 'SELECT chunks FROM concord.stat_commits') };
my $ended = sub { -e "$dir/loaded" || !$session->{handle}->pumpable };
my $from = $chunks->();
my $killed = 0;
foreach my $sent (10, 50, 110)	# of some 120
{
	wait_until(sub { $ended->() || $chunks->() - $from >= $sent }, 120);
	my $pid = sidecar_pid($node);
	$killed++ if !$ended->() && $pid && kill('KILL', $pid);
}
ok(wait_until($ended, 120), 'the load ends');
$session->{handle}->finish;
cmp_ok($killed, '>', 1, "concordd was killed $killed times meanwhile");
is($session->{err}, '', 'the session has noticed nothing');
is($node->safe_psql('postgres', 'SELECT count(*), count(DISTINCT a), min(length(b)), max(length(b)) FROM u'), '800000|800000|100|100',
	'all rows are there once');
is($node->safe_psql('postgres', 'SELECT count(*), count(DISTINCT a), sum(a) FROM v'), '200000|200000|20000100000', 'so are those of the rewrite');
$node->stop;
done_testing();
