# Nested loops whose inner side is looked up in an index of another machine's replica: the keys of many outer rows go in one request
# (extension/lookahead/), and what comes out is what every other way gives.
use strict;
use warnings;
use ConcordTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $node = new_cluster('main');
my $plans = 'SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_material = off; SET enable_memoize = off; SET enable_bitmapscan = off; SET max_parallel_workers_per_gather = 0;';
my $remote = 'SET concord.local_reads = off;';

sub reads { return remote_reads($node); }

sub query { return $node->safe_psql('postgres', join("\n", @_)); }

$node->safe_psql('postgres', q{
	CREATE TABLE o (id int PRIMARY KEY, k int, t text);
	CREATE TABLE i (k int, n int, v text, PRIMARY KEY (k, n));
	CREATE TABLE j (v text PRIMARY KEY, w bigint);
	INSERT INTO o SELECT i, CASE WHEN i % 50 <> 0 THEN (i * 7919) % 6000 END, CASE WHEN i % 40 <> 0 THEN 'v' || (i * 31) % 3000 END FROM generate_series(1, 2000) i;
	INSERT INTO i SELECT k, n, 'v' || (k + n) FROM generate_series(0, 5999) k, generate_series(1, 3) n WHERE k % 4 < n;
	INSERT INTO i SELECT 77, n, 'many' || n FROM generate_series(10, 400) n;
	INSERT INTO j SELECT 'v' || k, k FROM generate_series(0, 6000, 2) k;
	CREATE INDEX i_desc ON i (v DESC, n);
	ANALYZE o, i, j;
});

# ---- queries: the same by every way, and few requests ----
# requests: at most so many, of 2,000 outer rows
sub same
{
	my ($what, $requests, $sql, $set) = @_;
	$set = "$plans " . ($set // '');
	my $expected = query($sql);
	like(query($remote, $set, "EXPLAIN $sql"), qr/Custom Scan \(Concord Look Ahead\)/, "$what: looks ahead");
	my $before = reads();
	is(query($remote, $set, $sql), $expected, '... with the same result');
	my $cost = reads() - $before;
	note("$what: $cost requests");
	cmp_ok($cost, '<=', $requests, "... by not more than $requests requests");
	is(query($remote, $set, 'SET concord.nestloop_batch = 0;', $sql), $expected, '... as without');
	is(query($remote, 'SET enable_nestloop = off;', $sql), $expected, '... as by other joins');
	is(query($set, $sql), $expected, '... as from the files');
	is(query($remote, $set, 'SET concord.nestloop_batch = 1;', $sql), $expected, '... one by one');
}

same('an inner join', 30, q{SELECT count(*), sum(i.n), md5(string_agg(i.v, ',' ORDER BY o.id, i.n)) FROM o JOIN i ON i.k = o.k});
same('in the order of the keys', 30, q{SELECT count(*), sum(x.n), md5(string_agg(x.v, ',' ORDER BY y.k, x.n)) FROM (SELECT k FROM o WHERE k IS NOT NULL ORDER BY k LIMIT 1600 OFFSET 0) y JOIN LATERAL (SELECT * FROM i WHERE i.k = y.k) x ON true});
same('an index-only scan', 30, 'SELECT count(*), sum(i.k) FROM o JOIN i ON i.k = o.k AND i.n = 2');
same('a left join', 30, 'SELECT count(*), count(i.k), sum(length(i.v)) FROM o LEFT JOIN i ON i.k = o.k');
same('a semi-join', 30, q{SELECT count(*), sum(id) FROM o WHERE EXISTS (SELECT FROM i WHERE i.k = o.k AND i.v <> 'v9')});
same('an anti-join', 30, q{SELECT count(*), sum(id) FROM o WHERE NOT EXISTS (SELECT FROM i WHERE i.k = o.k AND i.v <> 'v9')});
same('the last one of each', 30, 'SELECT count(*), sum(x.n), md5(string_agg(x.v, \',\' ORDER BY o.id)) FROM o, LATERAL (SELECT n, v FROM i WHERE i.k = o.k ORDER BY n DESC LIMIT 1) x', 'SET enable_sort = off;');
same('an expression', 30, 'SELECT count(*), sum(i.n) FROM o JOIN i ON i.k = o.k + 1');
same('a range', 30, 'SELECT count(*), sum(i.n) FROM o JOIN i ON i.k BETWEEN o.k AND o.k + 1');
same('text', 30, 'SELECT count(*), sum(w) FROM o JOIN j ON j.v = o.t');
same('a descending column', 30, 'SELECT count(*), sum(i.k) FROM o JOIN i ON i.v = o.t AND i.n < 3');
same('bitmaps', 30, 'SELECT count(*), sum(i.n), sum(length(i.v)) FROM o JOIN i ON i.k = o.k AND i.k <> 77', 'SET enable_bitmapscan = on; SET enable_indexscan = off; SET enable_indexonlyscan = off;');
same('three tables', 160, 'SELECT count(*), sum(j.w) FROM o JOIN i ON i.k = o.k JOIN j ON j.v = i.v');
same('with Memoize', 30, 'SELECT count(*), sum(i.n) FROM (SELECT id, id % 70 AS k FROM o) o JOIN i ON i.k = o.k', 'SET enable_memoize = on;');
same('aggregates of each', 30, 'SELECT count(*), sum(x.s) FROM o, LATERAL (SELECT sum(n) AS s FROM i WHERE i.k = o.k) x');
same('a loop in a loop', 100, 'SELECT sum(x.s), sum(x.c) FROM generate_series(1, 5) g, LATERAL (SELECT sum(i.n) AS s, count(*) AS c FROM o JOIN i ON i.k = o.k WHERE o.id % 5 = g % 5) x');
same('a recursion', 200, 'WITH RECURSIVE r(id, k) AS (SELECT id, k FROM o WHERE id < 200 UNION SELECT r.id, i.k + 1 FROM r JOIN i ON i.k = r.k AND i.n = 3 WHERE r.k < 3000) SELECT count(*), sum(k) FROM r');

# Without an outer row that can match.
is(query($remote, $plans, 'SELECT count(*) FROM o JOIN i ON i.k = o.k WHERE o.k IS NULL'), '0', 'NULL keys only');

# ---- not more than is wanted ----
{
	my $before = reads();
	is(query($remote, $plans, 'SELECT i.n FROM o JOIN i ON i.k = o.k WHERE o.id > 0 LIMIT 1') ne '', 1, 'LIMIT 1');
	cmp_ok(reads() - $before, '<=', 14, '... by a few requests, most of them for the planner');
	my $shown = query($remote, $plans, 'EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) SELECT * FROM o JOIN i ON i.k = o.k WHERE o.id > 0 LIMIT 1');
	like($shown, qr/Concord Look Ahead\) \(actual rows=\d loops=1\)\n\s+Lookups: (\d+)\n\s+Requests: 1\n/, '... shown by EXPLAIN ANALYZE');
	my ($lookups) = $shown =~ /Lookups: (\d+)/;
	cmp_ok($lookups, '<=', 16, '... of the first rows only');
	like(query($remote, $plans, 'EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) SELECT * FROM o JOIN i ON i.k = o.k'), qr/Lookups: 1\d\d\d\n\s+Requests: ([5-9]|1\d)\n/, '... or of all');
	like(query($remote, $plans, 'EXPLAIN (VERBOSE, COSTS OFF) SELECT o.t, i.v FROM o JOIN i ON i.k = o.k + 1'),
		qr/Output: o.t, i.v\n.*Custom Scan \(Concord Look Ahead\)\n\s+Output: o.id, o.k, o.t\n.*Index Cond: \(i.k = \(o.k \+ 1\)\)/s, '... and by EXPLAIN VERBOSE');
	$before = reads();
	query($remote, $plans, 'EXPLAIN SELECT * FROM o JOIN i ON i.k = o.k');
	cmp_ok(reads() - $before, '<=', 10, 'EXPLAIN looks nothing up');
	unlike(query($plans, 'EXPLAIN SELECT * FROM o JOIN i ON i.k = o.k'), qr/Look Ahead/, 'none where the files are read');
	unlike(query($remote, $plans, 'EXPLAIN SELECT *, random() FROM o JOIN i ON i.k = o.k'), qr/Look Ahead/, '... nor with a volatile function');
	unlike(query($remote, $plans, 'EXPLAIN SELECT * FROM (SELECT * FROM o FOR UPDATE) o JOIN i ON i.k = o.k'), qr/Look Ahead/, '... nor above rows that are locked');
	unlike(query($remote, $plans, 'EXPLAIN WITH o AS MATERIALIZED (SELECT * FROM o ORDER BY id FOR UPDATE) SELECT * FROM o JOIN i ON i.k = o.k LIMIT 1'), qr/Look Ahead/, '... nor above a CTE that locks');
	unlike(query($remote, $plans, 'SET concord.nestloop_batch = 0; EXPLAIN SELECT * FROM o JOIN i ON i.k = o.k'), qr/Look Ahead/, '... nor when it is off');
}

# ---- keys that are never computed ----
foreach my $sql ('SELECT count(*), sum(s.c) FROM o, LATERAL (SELECT count(*) AS c FROM i WHERE o.id <> 3 AND i.k = 10000 / (o.id - 3)) s',
	'SELECT count(*), sum(s.n) FROM o, LATERAL (SELECT n FROM i WHERE o.id <> 3 AND i.k = 10000 / (o.id - 3) LIMIT 1) s',
	'SELECT count(*), sum(s.n) FROM o, LATERAL (SELECT n FROM i WHERE i.k = 10000 / (o.id - 3) LIMIT CASE o.id WHEN 3 THEN 0 ELSE 1 END) s')
{
	is(query($remote, $plans, $sql), query($sql), "no error but what the scan itself would raise: $sql");
}

# ---- wide rows, on both sides ----
$node->safe_psql('postgres', q{
	CREATE TABLE wide (id int PRIMARY KEY, k int, pad text);
	ALTER TABLE wide ALTER pad SET STORAGE EXTERNAL;
	INSERT INTO wide SELECT i, (i * 17) % 400, repeat(chr(97 + i % 26), CASE WHEN i % 100 = 0 THEN 3000000 ELSE 20000 END) FROM generate_series(1, 400) i;
	ANALYZE wide;
});
same('wide rows', 400, 'SELECT count(*), sum(length(a.pad)), sum(length(b.pad)), md5(string_agg(md5(a.pad || b.pad), \',\' ORDER BY a.id)) FROM wide a JOIN wide b ON b.id = a.k');

# ---- parallel ----
{
	my $sql = 'SELECT count(*), sum(i.n) FROM o JOIN i ON i.k = o.k';
	my $set = "$plans SET max_parallel_workers_per_gather = 2; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; SET min_parallel_index_scan_size = 0;";
	my $plan = query($remote, $set, "EXPLAIN $sql");
	like($plan, qr/Gather.*Nested Loop.*Look Ahead.*Parallel/s, 'a plan for workers') or diag($plan);
	my $before = reads();
	is(query($remote, $set, $sql), query($sql), '... with the same result');
	cmp_ok(reads() - $before, '<=', 200, '... by few requests');
	is(query($remote, $set, 'SET force_parallel_mode = on;', $sql), query($sql), '... also when forced');
}

# ---- prepared statements, functions, cursors ----
is(query($remote, $plans, 'SET plan_cache_mode = force_generic_plan; PREPARE p(int) AS SELECT count(*), sum(i.n) FROM o JOIN i ON i.k = o.k AND i.n >= $1; EXECUTE p(1); EXECUTE p(2); EXECUTE p(2)'),
	join("\n", map { query("SELECT count(*), sum(i.n) FROM o JOIN i ON i.k = o.k AND i.n >= $_") } 1, 2, 2), 'a prepared statement');
is(query($remote, $plans, q{SET plan_cache_mode = force_generic_plan; PREPARE p AS SELECT count(*), sum(i.n) FROM o JOIN i ON i.k = o.k; EXECUTE p; SET concord.local_reads = on; EXECUTE p; SET concord.local_reads = off; EXECUTE p}),
	join("\n", (query('SELECT count(*), sum(i.n) FROM o JOIN i ON i.k = o.k')) x 3), '... whose reads are local for once');
query(q{CREATE FUNCTION total(low int) RETURNS bigint LANGUAGE plpgsql AS $$
	DECLARE r record; s bigint := 0;
	BEGIN
		FOR r IN SELECT o.id, i.n FROM o JOIN i ON i.k = o.k AND i.n >= low LOOP
			s := s + r.n;
			BEGIN
				IF r.id % 500 = 0 THEN RAISE division_by_zero; END IF;
			EXCEPTION WHEN division_by_zero THEN s := s + 1;
			END;
		END LOOP;
		RETURN s;
	END $$});
is(query($remote, $plans, 'SELECT total(1), total(2); SELECT total(3)'), query('SELECT total(1), total(2); SELECT total(3)'), 'in plpgsql');
is(query($remote, $plans, q{BEGIN; DECLARE c SCROLL CURSOR FOR SELECT o.id, i.n FROM o JOIN i ON i.k = o.k WHERE o.id > 10 ORDER BY o.id, i.n; FETCH 3 FROM c; MOVE 100 IN c; FETCH 2 FROM c; FETCH BACKWARD 3 FROM c; COMMIT}),
	query(q{BEGIN; DECLARE c SCROLL CURSOR FOR SELECT o.id, i.n FROM o JOIN i ON i.k = o.k WHERE o.id > 10 ORDER BY o.id, i.n; FETCH 3 FROM c; MOVE 100 IN c; FETCH 2 FROM c; FETCH BACKWARD 3 FROM c; COMMIT}), 'a cursor');
{
	my $cursor = 'DECLARE c CURSOR FOR SELECT o.id, i.v FROM o JOIN i ON i.k = o.k;';
	my $script = "$remote $plans BEGIN; $cursor\n\\o /dev/null\nFETCH 20 FROM c;\n\\o\nUPDATE i SET v = 'new';\nSELECT count(*) FROM i WHERE v <> 'new';\nFETCH 500 FROM c \\g /dev/null\nSAVEPOINT s; DELETE FROM i; ROLLBACK TO s;\nCREATE TEMP TABLE rest (id int, v text) USING heap;\n"
	  . "MOVE 0 IN c;\nFETCH ALL FROM c \\g " . PostgreSQL::Test::Utils::tempdir() . "/rest\nROLLBACK;";
	my ($code, $out, $err) = $node->psql('postgres', $script);
	is("$code|$out|$err", '0|0|', 'a cursor over what its own transaction changes meanwhile');
}

# ---- own writes ----
foreach my $set ($remote, '')
{
	my @now = map { query($_, $plans, q{BEGIN; UPDATE i SET n = n + 1000 WHERE k % 3 = 0; DELETE FROM i WHERE k % 7 = 0; INSERT INTO i SELECT k, -1, 'own' FROM generate_series(0, 5999, 5) k;
		SELECT count(*), sum(i.n), md5(string_agg(i.v, ',' ORDER BY o.id, i.n)) FROM o JOIN i ON i.k = o.k;
		UPDATE i SET v = v || o.id FROM o WHERE o.k = i.k AND i.n < 3; SELECT count(*), sum(length(v)) FROM i; ROLLBACK}) } $set, '';
	is($now[0], $now[1], 'own writes are seen');
}

# ---- EvalPlanQual: rows that another transaction changes first ----
foreach my $case (
	[ 'UPDATE ... FROM', q{UPDATE i SET v = v || '+' || o.t FROM o WHERE o.k = i.k AND o.id BETWEEN 1 AND 40 AND i.n < 1000}, q{SELECT string_agg(k || ':' || n || ':' || v, ' ' ORDER BY k, n) FROM i WHERE k IN (SELECT k FROM o WHERE id <= 40)} ],
	[ 'FOR UPDATE', q{CREATE TABLE locked AS SELECT o.id, i.k, i.n, i.v FROM o JOIN i ON i.k = o.k WHERE o.id BETWEEN 1 AND 40 AND i.n < 1000 FOR UPDATE OF i}, q{SELECT string_agg(id || ':' || k || ':' || n || ':' || v, ' ' ORDER BY id, k, n) FROM locked} ])
{
	my ($what, $sql, $show) = @$case;
	my @results;
	foreach my $set ("$remote $plans", 'SET enable_nestloop = off;')
	{
		query(q{DROP TABLE IF EXISTS locked; CREATE TABLE IF NOT EXISTS i_before AS SELECT * FROM i; DELETE FROM i; INSERT INTO i SELECT * FROM i_before});
		my $first = start_session($node, 'first', "BEGIN; UPDATE i SET v = 'changed' WHERE k = (SELECT k FROM o WHERE id = 7); UPDATE i SET n = n + 5000 WHERE k = (SELECT k FROM o WHERE id = 9);\nSELECT pg_sleep(3); COMMIT;");
		ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = 'first' AND wait_event = 'PgSleep'}), "$what: another one is first");
		$set eq 'SET enable_nestloop = off;' or like(query($set, "EXPLAIN $sql"), qr/Look Ahead/, '... this one looks ahead');
		query($set, $sql);
		$first->{handle}->finish;
		is($first->{err}, '', '... and commits');
		push @results, query($show);
	}
	is($results[0], $results[1], '... with the same result');
	like($results[0], qr/changed/, '... that has what the other one wrote') if $what eq 'FOR UPDATE';
	unlike($results[0], qr/:500\d:\S*\+/, '... and not what does not match any more') if $what eq 'UPDATE ... FROM';
}

# ---- SERIALIZABLE: what was read, not what was fetched ahead ----
{
	my $reader = start_session($node, 'reader', "$remote $plans BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT i.n FROM o JOIN i ON i.k = o.k WHERE o.id > 0 ORDER BY o.id LIMIT 1;\nINSERT INTO o VALUES (-1, 0, 'x');\nSELECT pg_sleep(2);\nCOMMIT;");
	ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = 'reader' AND wait_event = 'PgSleep'}), 'a SERIALIZABLE reader of the first row');
	query(q{UPDATE i SET v = v WHERE k = (SELECT k FROM o WHERE id = 12)});
	$reader->{handle}->finish;
	is($reader->{err}, '', '... is not in the way of who writes what the twelfth leads to');
}

$node->stop;
done_testing();
