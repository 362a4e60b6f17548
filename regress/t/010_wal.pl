# What an acknowledged commit has used of others' work in the WAL is there after a crash, as it is on heap, where the flush of a commit
# takes all WAL before it along: a sequence does not give ids twice, and a table that has rows exists.
use strict;
use warnings;
use ConcordTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_cluster('main', "autovacuum = off\n");
$node->safe_psql('postgres', 'CREATE TABLE t (id int PRIMARY KEY, a int); CREATE SEQUENCE s');

# From here to the crash nothing but commits flushes: the WAL writer is halted.
my $writer;
sub halt_writer
{
	$writer = $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'");
	kill 'STOP', $writer or die $!;
}
sub crash
{
	my $postmaster = (split /\n/, slurp_file($node->data_dir . '/postmaster.pid'))[0];
	kill 'QUIT', $postmaster;
	# The order to end is there first.
	ok(wait_until(sub { slurp_file("/proc/$writer/status") =~ /^(?:Shd|Sig)Pnd:\s*0*[1-9a-f]/m }), 'all are told to end');
	kill 'CONT', $writer;
	ok(wait_until(sub { !kill(0, $postmaster) }), 'the server has crashed');
	$node->stop('immediate', fail_ok => 1);
	$node->start;
	ok(wait_ready($node), 'started');
}
sub unflushed
{
	return $node->safe_psql('postgres', 'SELECT pg_current_wal_insert_lsn() - pg_current_wal_flush_lsn()');
}

foreach my $synchronous_commit (qw(on off))
{
	halt_writer();
	# This one makes the record of the next 32 values, and has not committed.
	my $first = $node->background_psql('postgres', on_error_stop => 1);
	$first->query_safe('BEGIN');
	$first->query_safe(q(SELECT nextval('s') FROM generate_series(1, 40)));
	cmp_ok(unflushed(), '>', 0, 'the record of the sequence is not on disk');
	# A commit is durable whatever this says, so what it has used must be.
	$node->safe_psql('postgres', "SET synchronous_commit = $synchronous_commit; INSERT INTO t SELECT nextval('s'), 0");
	crash();
	cmp_ok($node->safe_psql('postgres', q(SELECT nextval('s') - max(id) FROM t)), '>', 0,
		"synchronous_commit = $synchronous_commit: the sequence does not go back behind what was acknowledged");
	eval { $first->quit };
}

halt_writer();
$node->safe_psql('postgres', 'SET synchronous_commit = off; CREATE TABLE made (a int)');
cmp_ok(unflushed(), '>', 0, 'CREATE TABLE is not on disk');
$node->safe_psql('postgres', 'INSERT INTO made VALUES (1)');
crash();
is(($node->psql('postgres', 'SELECT a FROM made'))[1], 1, 'a table that has acknowledged rows exists');

# Where a page of the WAL is just full, the next record's place is behind a header that is not there yet.
foreach my $round (1 .. 3)
{
	my $place = $node->safe_psql('postgres', <<'EOT2');
DO $$
DECLARE space int;
BEGIN
  LOOP
    space := 8192 - pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint % 8192;
    EXIT WHEN space > 400;
    PERFORM pg_logical_emit_message(false, '', repeat('x', 400));
  END LOOP;
  -- 54 bytes go to headers
  PERFORM pg_logical_emit_message(false, '', repeat('x', space - 54));
END $$;
SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint % 8192;
INSERT INTO made VALUES (2);
SELECT pg_current_wal_insert_lsn() - pg_current_wal_flush_lsn();
EOT2
	is($place, "24\n24", 'a page of the WAL is full, and flushed');
}
# The first page of a segment has a longer header.
my $switched = $node->safe_psql('postgres', <<'EOT2');
SELECT pg_switch_wal() \g /dev/null
SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint % 8192;
INSERT INTO made VALUES (3);
SELECT pg_current_wal_insert_lsn() - pg_current_wal_flush_lsn();
EOT2
is($switched, "40\n40", 'a segment of the WAL is full, and flushed');

# A transaction that has only read, or has rolled back, waits for no disk.
halt_writer();
my ($before, $after) = split /\n/, $node->safe_psql('postgres', <<'EOT2');
SELECT pg_logical_emit_message(false, '', 'x') \g /dev/null
SELECT pg_current_wal_flush_lsn();
BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT count(*) FROM t \g /dev/null
COMMIT;
BEGIN; INSERT INTO t VALUES (-1); ROLLBACK;
SELECT pg_current_wal_flush_lsn();
EOT2
is($after, $before, 'a transaction without changes flushes nothing');
kill 'CONT', $writer;
unlike(slurp_file($node->logfile), qr/flush request|request to flush past/, 'no flush was asked for beyond the end');
$node->stop;
done_testing();
