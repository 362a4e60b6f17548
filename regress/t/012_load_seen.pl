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
$node->stop;
done_testing();
