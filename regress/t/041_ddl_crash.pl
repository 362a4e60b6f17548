# DDL is stopped by kill -9 at known steps: inside its transaction, after the adjudicator's verdict and before the local commit,
# after the local commit and before the drops it leaves are sent. Then each table is as before or as after, rows and indexes
# agree, and what is left of storage that nobody uses is swept.
use strict;
use warnings;
use ConcordTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

# A commit with synchronous_commit = on waits for ever after it is durable here, and before it is anything to others.
my $node = new_cluster('main', "concord.sweep_interval = 0\nwal_level = replica\nmax_wal_senders = 2\nsynchronous_commit = local\nsynchronous_standby_names = 'nobody'\n");
$node->safe_psql('postgres', 'CREATE DATABASE other');
my $space = PostgreSQL::Test::Utils::tempdir();
$node->safe_psql('postgres', "CREATE TABLESPACE elsewhere LOCATION '$space'");

# table => statements; every table but the first has 500 rows before
my %statements = (
	made => 'CREATE TABLE made AS SELECT g AS a, g AS b FROM generate_series(1, 20000) g; CREATE INDEX made_a ON made (a);',
	gone => 'DROP TABLE gone;',
	cut => 'TRUNCATE cut; INSERT INTO cut SELECT g, g FROM generate_series(1, 7) g;',
	wide => 'ALTER TABLE wide ALTER COLUMN b TYPE bigint;',
	indexed => 'CREATE INDEX indexed_b ON indexed (b); UPDATE indexed SET b = b + 1 WHERE a = 1;',
	rebuilt => 'REINDEX TABLE rebuilt; UPDATE rebuilt SET b = b + 1 WHERE a = 1;',
	came => 'ALTER TABLE came SET ACCESS METHOD concord;',
	went => 'ALTER TABLE went SET ACCESS METHOD heap;',
	moved => 'ALTER TABLE moved SET TABLESPACE elsewhere; ALTER INDEX moved_pkey SET TABLESPACE elsewhere; UPDATE moved SET b = b + 1 WHERE a = 1;',
	view => 'REFRESH MATERIALIZED VIEW view;',
	ordered => 'CLUSTER ordered USING ordered_pkey; UPDATE ordered SET b = b + 1 WHERE a = 1;',
);
# The same stopped in the middle: at the 499th row of 500, or of 20000 the 19999th. Only where sessions sleep.
my %inside = (
	inside_made => 'CREATE TABLE inside_made AS SELECT g AS a, CASE WHEN g = 19999 THEN slow(499) ELSE g END AS b FROM generate_series(1, 20000) g;',
	inside_wide => 'ALTER TABLE inside_wide ALTER COLUMN b TYPE bigint USING slow(b);',
	inside_indexed => 'CREATE INDEX ON inside_indexed (slow(b));',
	inside_rebuilt => 'REINDEX TABLE inside_rebuilt;',
);
my @untouched = map { "$_ 500 500 int" } qw(inside_wide inside_indexed inside_rebuilt);
my @before = (@untouched, 'ordered 500 500 int', 'came 500 500 int heap', 'went 500 500 int concord', 'moved 500 500 int', 'view 500 500 int', 'gone 500 500 int', 'cut 500 500 int', 'wide 500 500 int', 'indexed 500 500 int', 'rebuilt 500 500 int');
my @after = (@untouched, 'ordered 500 500 int', 'came 500 500 int concord', 'went 500 500 int heap', 'moved 500 500 int', 'view 510 510 int', 'made 20000 20000 int', 'cut 7 7 int', 'wide 500 500 big', 'indexed 500 500 int', 'rebuilt 500 500 int');

sub fill
{
	$node->safe_psql('postgres', join '', map {
		/made/ ? "DROP TABLE IF EXISTS $_;"
		  : /view/ ? "DROP MATERIALIZED VIEW IF EXISTS view; DROP TABLE IF EXISTS source; CREATE TABLE source AS SELECT g AS a, g AS b FROM generate_series(1, 500) g;
			CREATE MATERIALIZED VIEW view AS SELECT a, b FROM source; CREATE UNIQUE INDEX ON view (a); INSERT INTO source SELECT g, g FROM generate_series(501, 510) g;"
		  : /came/ ? "DROP TABLE IF EXISTS $_; CREATE TABLE $_ (a int PRIMARY KEY, b int) USING heap; INSERT INTO $_ SELECT g, g FROM generate_series(1, 500) g;"
		  : "DROP TABLE IF EXISTS $_; CREATE TABLE $_ (a int PRIMARY KEY, b int); INSERT INTO $_ SELECT g, g FROM generate_series(1, 500) g;"
	} keys %statements, keys %inside);
	$node->safe_psql('postgres', "CREATE OR REPLACE FUNCTION slow(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS
	  \$\$BEGIN IF \$1 = 499 AND current_setting('slow.awake', true) IS DISTINCT FROM 'on' THEN PERFORM pg_sleep(600); END IF; RETURN \$1; END\$\$;
	  SET slow.awake = on; CREATE INDEX ON inside_rebuilt (slow(b))");
}

# "table rows-by-scan rows-by-index type-of-b", and the access method where it is changed, one for each table there is; "dropped" behind it if storage of it is on its way out
# but can still be read
sub state
{
	my @tables = split /\n/, $node->safe_psql('postgres', "SELECT relname FROM pg_class WHERE relkind IN ('r', 'm') AND relname IN ('"
		  . join("','", keys %statements, keys %inside) . "')");
	my $script = '';
	foreach my $table (@tables)
	{
		$script .= "SELECT '$table';\n";
		$script .= "SET enable_indexscan = $_; SET enable_bitmapscan = $_; SET enable_indexonlyscan = $_; SET enable_seqscan = "
		  . ($_ eq 'on' ? 'off' : 'on') . "; SELECT count(b) FROM $table WHERE a > 0;\n" foreach qw(off on);
		$script .= "SELECT substr(atttypid::regtype::text, 1, 3) FROM pg_attribute WHERE attrelid = '$table'::regclass AND attname = 'b';\n";
		$script .= "SELECT amname FROM pg_class JOIN pg_am ON pg_am.oid = relam WHERE relname = '$table';\n" if $table =~ /came|went/;
		$script .= "SELECT 'dropped' FROM (SELECT '$table'::regclass AS r UNION SELECT indexrelid FROM pg_index
			WHERE indisready AND indrelid = '$table'::regclass) AS x JOIN pg_class ON pg_class.oid = r JOIN pg_am ON pg_am.oid = relam
			WHERE CASE WHEN amname LIKE 'concord%' THEN concord.relation_size(r) = 0 END LIMIT 1;\nSELECT ';';\n";
	}
	return map { s/\n/ /gr } split /\n;\n?/, @tables ? $node->safe_psql('postgres', $script) : '';
}

# Every statement in a session of its own, held where $end makes it wait.
sub start_all
{
	my ($wait_event, $settings, $end) = @_;
	my %all = (%statements, $wait_event eq 'PgSleep' ? %inside : ());
	my @sessions = map { start_session($node, "ddl_$_", "$settings BEGIN; $all{$_} $end") } sort keys %all;
	my $held = wait_until(sub { $node->safe_psql('postgres',
				"SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'ddl%' AND wait_event = '$wait_event'") == @sessions });
	ok($held, "all statements wait for $wait_event") or diag($node->safe_psql('postgres',
			"SELECT application_name, state, wait_event, query FROM pg_stat_activity WHERE application_name LIKE 'ddl%'"),
		map { $_->{err} } @sessions);
	return @sessions;
}

sub finish_all { eval { $_->{handle}->finish } foreach @_; }

sub kill_something
{
	my ($victim) = @_;
	sleep 0.5;	# for drops that would be sent too early to arrive
	if ($victim eq 'backend')
	{
		kill 'KILL', $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'ddl%' ORDER BY random() LIMIT 1");
	}
	else
	{
		my $postmaster = (split /\n/, slurp_file($node->data_dir . '/postmaster.pid'))[0];
		$node->kill9;
		wait_until(sub { !kill(0, $postmaster) }, 20);
		$node->start;
	}
	ok(wait_ready($node), 'it commits again');
}

my $log_seen = 0;

# There is $orphans storage to be swept ('some' or 'no'), and none after that.
sub check
{
	my ($label, $orphans, @expected) = @_;
	is_deeply([ sort(state()) ], [ sort @expected ], "$label: tables and indexes");
	my $swept = $node->safe_psql('postgres', 'SELECT concord.sweep()');
	# The sweep that goes with a start may have come before.
	if ($orphans eq 'some')
	{
		$swept += $_ foreach slurp_file($node->logfile, $log_seen) =~ /concord sweeper: removed (\d+) storage/g;
	}
	$log_seen = -s $node->logfile;
	$orphans eq 'some' ? cmp_ok($swept, '>', 0, "$label: $swept orphans are swept") : is($swept, 0, "$label: no orphans");
	is($node->safe_psql('postgres', 'SELECT count(*) FROM concord.orphans'), 0, "$label: and none is left");
	is_deeply([ sort(state()) ], [ sort @expected ], "$label: tables and indexes after the sweep");
}

# rolled back: nothing to sweep
fill();
my @sessions = start_all('PgSleep', '', 'SELECT pg_sleep(600);');
$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'ddl%'");
finish_all(@sessions);
check('rollback', 'no', @before);

# failed
foreach my $failure ("CREATE TABLE made AS SELECT g AS a, 1 / (19999 - g) AS b FROM generate_series(1, 20000) g",
	'ALTER TABLE wide ALTER COLUMN b TYPE int USING 1 / (499 - b)', 'CREATE INDEX ON indexed ((1 / (499 - b)))',
	'BEGIN; INSERT INTO indexed VALUES (501, 500); CREATE UNIQUE INDEX ON indexed (b)',
	'CREATE INDEX CONCURRENTLY indexed_bad ON indexed ((1 / (499 - b)))', 'DROP DATABASE postgres',
	'BEGIN; TRUNCATE cut; DROP TABLE gone; REINDEX TABLE rebuilt; SELECT 1 / 0')
{
	isnt(scalar $node->psql('postgres', $failure, on_error_stop => 1), 0, "fails: $failure");
}
$node->safe_psql('postgres', 'DROP INDEX indexed_bad');
check('failed', 'no', @before);

foreach my $victim ($ENV{CONCORD_KILLS} ? qw(backend postmaster) : 'backend')
{
	# inside the transaction; what has been loaded is in the cluster
	fill();
	@sessions = start_all('PgSleep', '', 'SELECT pg_sleep(600);');
	kill_something($victim);
	finish_all(@sessions);
	check("$victim killed before COMMIT", 'some', @before);

	# The verdict is there, the local commit is not: NOTIFY comes between them, and waits for a lock that another commit holds.
	fill();
	my $holder = start_session($node, 'holder', "SET synchronous_commit = on; BEGIN; SELECT pg_logical_emit_message(true, '', ''); NOTIFY channel; COMMIT;");
	ok(wait_until(sub { $node->safe_psql('postgres',
					"SELECT count(*) FROM pg_stat_activity WHERE application_name = 'holder' AND wait_event = 'SyncRep'") == 1 }), 'the lock is held');
	@sessions = start_all('object', '', 'NOTIFY channel; COMMIT;');
	kill_something($victim);
	finish_all($holder, @sessions);
	check("$victim killed between verdict and local commit", 'some', map { s/^cut .*/cut 500 500 int/r } @before);

	# locally committed, and no drop is sent
	fill();
	$node->safe_psql('postgres', 'DROP DATABASE IF EXISTS doomed');
	$node->safe_psql('postgres', 'CREATE DATABASE doomed');
	$node->safe_psql('doomed', 'CREATE EXTENSION concord; CREATE TABLE d (a int PRIMARY KEY); INSERT INTO d VALUES (1)');
	$node->safe_psql('postgres', 'SELECT concord.sweep()');
	# first, as it waits until all others have heard of it, which who waits for a standby does not
	my $drop = start_session($node, 'dropper', 'SET synchronous_commit = on; DROP DATABASE doomed;');
	ok(wait_until(sub { $node->safe_psql('postgres',
					"SELECT count(*) FROM pg_stat_activity WHERE application_name = 'dropper' AND wait_event = 'SyncRep'") == 1 }),
		'DROP DATABASE has committed');
	@sessions = start_all('SyncRep', 'SET synchronous_commit = on;', 'COMMIT;');
	kill_something($victim);
	finish_all($drop, @sessions);
	check("$victim killed after the local commit", 'some', @after);
}

# The sidecar ends and comes again: each transaction commits or not, and is as its client was told.
fill();
my $lock = start_session($node, 'lock', 'SELECT pg_advisory_lock(1); SELECT pg_sleep(600);');
ok(wait_until(sub { $node->safe_psql('postgres', "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted") == 1 }), 'locked');
@sessions = start_all('advisory', '', 'SELECT pg_advisory_xact_lock_shared(1); COMMIT; \echo done :ERROR');
kill 'KILL', sidecar_pid($node);
$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'lock'");
finish_all($lock, @sessions);
ok(wait_ready($node), 'it commits again');
is(join('', map { $_->{out} =~ /done false/ ? 1 : 0 } @sessions), '1' x keys %statements, 'all have committed') or diag(map { $_->{err} } @sessions);
check('sidecar killed before COMMIT', 'no', @after);

# An index is made or remade in several transactions here, which wait for those that began before. What is left is invalid, as on heap,
# and somebody's until it is dropped.
foreach my $victim ($ENV{CONCORD_KILLS} ? qw(backend postmaster) : 'backend')
{
	fill();
	my $before = start_session($node, 'before', 'BEGIN; LOCK TABLE indexed, rebuilt IN ROW EXCLUSIVE MODE; SELECT pg_sleep(600);');
	ok(wait_until(sub { $node->safe_psql('postgres',
					"SELECT count(*) FROM pg_stat_activity WHERE application_name = 'before' AND wait_event = 'PgSleep'") == 1 }), 'a transaction began before');
	@sessions = map { start_session($node, "ddl_$_->[0]", $_->[1]) }
	  (['late', 'CREATE INDEX CONCURRENTLY indexed_late ON indexed (b)'], ['again', 'REINDEX INDEX CONCURRENTLY rebuilt_pkey']);
	ok(wait_until(sub { $node->safe_psql('postgres',
					"SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'ddl%' AND wait_event = 'virtualxid'") == 2 }), 'index builds wait for it');
	is($node->safe_psql('postgres', "SELECT pg_total_relation_size('indexed') - pg_table_size('indexed') - pg_relation_size('indexed_pkey')"), 0,
		'one that is not begun to be built has no size');
	kill_something($victim);
	finish_all($before, @sessions);
	check("$victim killed in the middle of CONCURRENTLY", 'no', @before);
	is($node->safe_psql('postgres', 'SELECT relname FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid WHERE NOT indisvalid ORDER BY 1'),
		"indexed_late\nrebuilt_pkey_ccnew", "$victim killed in the middle of CONCURRENTLY: what is left is invalid");
	$node->safe_psql('postgres', 'REINDEX INDEX CONCURRENTLY indexed_late; DROP INDEX rebuilt_pkey_ccnew') if $victim eq 'postmaster';
	$node->safe_psql('postgres', 'DROP INDEX IF EXISTS indexed_late, rebuilt_pkey_ccnew');
	check("$victim killed in the middle of CONCURRENTLY, and dropped", 'no', @before);
}

# The drops wait for a sidecar that does not answer, and are lost with both: one that went on would find them in its socket.
fill();
my $sidecar = sidecar_pid($node);
kill 'STOP', $sidecar;
$node->safe_psql('postgres', 'DROP TABLE gone, wide, rebuilt');
my $postmaster = (split /\n/, slurp_file($node->data_dir . '/postmaster.pid'))[0];
$node->kill9;
wait_until(sub { !kill(0, $postmaster) }, 20);
kill 'KILL', $sidecar;
$node->start;
ok(wait_ready($node), 'it commits again');
check('drops lost', 'some', @untouched, (grep { /^(came|went|moved|view|ordered)/ } @before), 'cut 500 500 int', 'indexed 500 500 int');

$node->stop;
done_testing();
