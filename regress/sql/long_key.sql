--
-- Index keys to btree's limit: the same rows in a heap table with btree indexes and in a Concord table. Only what differs would show.
--
SET client_min_messages = warning;
SELECT setseed(0.20260315);
SET concord.allow_mixed_writes = on;
SET enable_seqscan = off;
SET enable_bitmapscan = off;
SET enable_sort = off;
SET enable_incremental_sort = off;
SET jit = off;
SET max_parallel_workers_per_gather = 0;

-- Letters that do not compress; the same ones for the same seed.
CREATE FUNCTION lk_text(seed text, length int) RETURNS text LANGUAGE sql IMMUTABLE AS $$
	SELECT left(string_agg(md5(seed || ' ' || g), '' ORDER BY g), length) FROM generate_series(0, length / 32) g
$$;

-- Texts of all lengths up to what btree takes; many around where keys begin to be shortened; with 600 and 2000 bytes in common.
CREATE TABLE lk_heap (id int, k text COLLATE "C", n int, b bytea) USING heap;
INSERT INTO lk_heap (id, k)
	SELECT i, CASE i % 7
		WHEN 0 THEN lk_text('any ' || i, 1 + (random() * 2680)::int)
		WHEN 1 THEN lk_text('limit ' || i, 455 + (random() * 40)::int)
		WHEN 2 THEN lk_text('600', 600) || lk_text('tail ' || i % 50, (random() * 30)::int)
		WHEN 3 THEN lk_text('2000', 2000) || lk_text('tail ' || i, (random() * 600)::int)
		WHEN 4 THEN lk_text('469', 469) || left('abab', (random() * 4)::int)
		WHEN 5 THEN 'short ' || i % 20
		ELSE repeat('very ' || i % 10, 2000) END
	FROM generate_series(1, 350) i;
INSERT INTO lk_heap (id, k) SELECT 1000 + id, k FROM lk_heap WHERE id % 3 = 0;
INSERT INTO lk_heap (id) SELECT 2000 + i FROM generate_series(1, 5) i;
UPDATE lk_heap SET n = id % 5, b = decode(replace(md5(k), 'a', '00') || encode(convert_to(left(k, 1200), 'UTF8'), 'hex'), 'hex')
	WHERE length(replace(md5(k), 'a', '00')) % 2 = 0;
UPDATE lk_heap SET n = id % 5 WHERE n IS NULL;
UPDATE lk_heap SET b = decode(repeat('00', 400 + id) || 'ff', 'hex') WHERE id BETWEEN 1 AND 40;
VACUUM FULL lk_heap;
CREATE TABLE lk_conc (LIKE lk_heap) USING concord;
-- Half before the indexes are made, half after.
INSERT INTO lk_conc SELECT * FROM lk_heap WHERE id % 2 = 0 ORDER BY ctid;

-- What a query about `lk` returns, row by row, on heap and on Concord: nothing if that is the same, of the same plan without a sort.
CREATE FUNCTION lk_check(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	wrong bigint;
	line text;
	plans text[] := ARRAY['', ''];
	conc text := regexp_replace(query, '\mlk\M', 'lk_conc', 'g');
	heap text := regexp_replace(query, '\mlk\M', 'lk_heap', 'g');
BEGIN
	EXECUTE format('SELECT count(*) FROM (SELECT row_number() OVER () AS nr, q::text AS r FROM (%s) q) h
					FULL JOIN (SELECT row_number() OVER () AS nr, q::text AS r FROM (%s) q) c USING (nr)
					WHERE h.r IS DISTINCT FROM c.r', heap, conc) INTO wrong;
	IF wrong > 0 THEN
		RETURN NEXT format('%s rows differ: %s', wrong, regexp_replace(query, '''[^'']{60,}''', '''...''', 'g'));
	END IF;
	FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || conc LOOP
		IF line ~ 'Seq Scan|Sort' THEN
			RETURN NEXT format('%s: %s', regexp_replace(query, '''[^'']{60,}''', '''...''', 'g'), line);
		END IF;
	END LOOP;
END $$;

-- Orders and ranges of an index on columns beginning with `expression`; `order_by` and `reversed` are its orders.
CREATE FUNCTION lk_check_index(columns text, expression text, order_by text, reversed text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	low text;
	high text;
	operator text;
BEGIN
	EXECUTE format('CREATE INDEX lk_heap_i ON lk_heap %s', columns);
	EXECUTE format('CREATE INDEX lk_conc_i ON lk_conc %s', columns);
	IF NOT EXISTS (SELECT FROM lk_conc WHERE id % 2 = 1) THEN
		INSERT INTO lk_conc SELECT * FROM lk_heap WHERE id % 2 = 1 ORDER BY ctid;
	END IF;
	ANALYZE lk_heap;
	ANALYZE lk_conc;
	RETURN QUERY SELECT lk_check(format('SELECT id, %s FROM lk ORDER BY %s, id', expression, order_by))
		WHERE order_by ~ '\mid\M'
		UNION ALL SELECT lk_check(format('SELECT %s FROM lk ORDER BY %s', expression, order_by))
		UNION ALL SELECT lk_check(format('SELECT %s FROM lk ORDER BY %s', expression, reversed))
		UNION ALL SELECT lk_check(format('SELECT count(*) FROM lk WHERE %s IS NULL', expression))
		UNION ALL SELECT lk_check(format('SELECT %1$s FROM lk WHERE %1$s IS NOT NULL ORDER BY %2$s LIMIT 100 OFFSET 30', expression, order_by));
	FOR low, high IN EXECUTE format('SELECT quote_literal(least(x, y)), quote_literal(greatest(x, y))
			FROM (SELECT (%1$s) AS x, lead(%1$s, 7) OVER (ORDER BY md5(id::text)) AS y FROM lk_heap WHERE %1$s IS NOT NULL) p
			WHERE y IS NOT NULL ORDER BY md5(x::text) LIMIT 15', expression) LOOP
		RETURN QUERY SELECT lk_check(format('SELECT %1$s FROM lk WHERE %1$s >= %2$s AND %1$s < %3$s ORDER BY %4$s', expression, low, high, order_by))
			UNION ALL SELECT lk_check(format('SELECT %1$s FROM lk WHERE %1$s > %2$s AND %1$s <= %3$s ORDER BY %4$s', expression, low, high, reversed));
		FOREACH operator IN ARRAY ARRAY['<', '<=', '>=', '>', '='] LOOP
			RETURN QUERY SELECT lk_check(format('SELECT count(*), min(id), max(id) FROM lk WHERE %s %s %s', expression, operator, low));
		END LOOP;
		RETURN QUERY SELECT lk_check(format('SELECT count(*), min(id), max(id) FROM lk WHERE %s IN (%s, %s, NULL, ''short 3'', %2$s)', expression, low, high));
	END LOOP;
	RETURN QUERY SELECT 'check: ' || problem FROM concord.check('lk_conc');
	DROP INDEX lk_heap_i, lk_conc_i;
END $$;

SELECT lk_check_index('(k)', 'k', 'k', 'k DESC');
SELECT lk_check_index('(k DESC NULLS LAST)', 'k', 'k DESC NULLS LAST', 'k NULLS FIRST');
SELECT lk_check_index('(k, id)', 'k', 'k, id', 'k DESC, id DESC');
SELECT lk_check_index('(k DESC, id) INCLUDE (n)', 'k', 'k DESC, id', 'k, id DESC');
SELECT lk_check_index('(b, id)', 'b', 'b, id', 'b DESC, id DESC');
SELECT lk_check_index('((k || ''x''))', 'k || ''x''', 'k || ''x''', 'k || ''x'' DESC');

-- Several columns: the first one alone, both, as a row, arrays of both.
CREATE INDEX lk_heap_i ON lk_heap (k, n, id);
CREATE INDEX lk_conc_i ON lk_conc (k, n, id);
CREATE INDEX lk_heap_n ON lk_heap (n, k DESC, id);
CREATE INDEX lk_conc_n ON lk_conc (n, k DESC, id);
SELECT lk_check(format(q, quote_literal(k)))
	FROM (SELECT DISTINCT k FROM lk_heap WHERE id % 9 = 0 AND k IS NOT NULL) d,
		unnest(ARRAY[
			'SELECT k, n, id FROM lk WHERE k = %s ORDER BY k, n, id',
			'SELECT k, n, id FROM lk WHERE k = %s AND n = 2 ORDER BY k DESC, n DESC, id DESC',
			'SELECT k, n, id FROM lk WHERE k = %s AND n > 1 ORDER BY k, n, id',
			'SELECT k, n, id FROM lk WHERE (k, n) > (%s, 2) ORDER BY k, n, id LIMIT 50',
			'SELECT k, n, id FROM lk WHERE (k, n, id) <= (%s, 2, 170) ORDER BY k DESC, n DESC, id DESC LIMIT 50',
			'SELECT k, n, id FROM lk WHERE k >= %s AND n = 1 ORDER BY k, n, id LIMIT 50',
			'SELECT n, k, id FROM lk WHERE n = 1 AND k < %s ORDER BY n, k DESC, id LIMIT 50',
			'SELECT n, k, id FROM lk WHERE n = 3 AND k >= %s ORDER BY n DESC, k, id DESC LIMIT 50',
			'SELECT count(*), sum(id) FROM lk WHERE k IN (%s, ''short 1'') AND n IN (1, 2, 4)',
			'SELECT count(*), sum(id) FROM lk WHERE k = %s AND n = 1 AND id > 100',
			'SELECT count(*), sum(id) FROM lk WHERE k = %1$s AND k > %1$s',
			'SELECT count(*), sum(id) FROM lk WHERE k = %1$s AND k >= %1$s AND k <= %1$s || ''x''',
			'SELECT count(*), sum(id) FROM lk WHERE k LIKE left(%s, 550) || ''%%''',
			'SELECT min(k), max(k) FROM lk WHERE k < %s']) q;

-- Cursors that turn round.
CREATE FUNCTION lk_walk(tab text, query text, steps int[]) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	c refcursor;
	step int;
	r record;
	result text := '';
BEGIN
	OPEN c SCROLL FOR EXECUTE regexp_replace(query, '\mlk\M', tab, 'g');
	FOREACH step IN ARRAY steps LOOP
		FOR i IN 1 .. abs(step) LOOP
			IF step > 0 THEN FETCH NEXT FROM c INTO r; ELSE FETCH PRIOR FROM c INTO r; END IF;
			result := md5(result || coalesce(r::text, '-'));
		END LOOP;
	END LOOP;
	CLOSE c;
	RETURN result;
END $$;
SELECT q, lk_walk('lk_heap', q, steps) = lk_walk('lk_conc', q, steps) AS same
	FROM unnest(ARRAY['SELECT k, n, id FROM lk ORDER BY k, n, id', 'SELECT k, n, id FROM lk ORDER BY k DESC, n DESC, id DESC',
		'SELECT n, k, id FROM lk WHERE n = 2 ORDER BY n, k DESC, id']) q,
		(SELECT array_agg((random() * 40)::int - 18) AS steps FROM generate_series(1, 150)) s;
SELECT bool_and(lk_walk('lk_heap', q, steps) = lk_walk('lk_conc', q, steps)) AS same
	FROM (VALUES ('SELECT k, n, id FROM lk ORDER BY k, n, id')) v (q),
		(SELECT seed, array_agg(CASE WHEN random() < 0.5 THEN 1 ELSE -1 END * (1 + (random() * 3)::int)) || 700 || -900 AS steps
			FROM generate_series(1, 20) seed, generate_series(1, 60) GROUP BY seed) s;

-- A group larger than work_mem.
SET work_mem = '64kB';
SELECT lk_check('SELECT k, n, id FROM lk ORDER BY k, n, id');
SELECT lk_check('SELECT k, n, id FROM lk ORDER BY k DESC, n DESC, id DESC');
SELECT lk_walk('lk_heap', q, steps) = lk_walk('lk_conc', q, steps) AS same
	FROM (VALUES ('SELECT k, n, id FROM lk ORDER BY k, n, id')) v (q),
		(SELECT array_agg((random() * 40)::int - 18) || 700 || -900 AS steps FROM generate_series(1, 150)) s;
RESET work_mem;

-- Merge joins go back to marks; nested loops begin anew.
SET enable_hashjoin = off; SET enable_nestloop = off; SET enable_material = off;
SELECT lk_check('SELECT a.k, a.id, b.id FROM lk a JOIN lk b ON a.k = b.k');
SELECT lk_check('SELECT count(*), sum(a.id), sum(b.id), md5(string_agg(a.k, '''')) FROM lk a JOIN lk b ON a.k = b.k');
SELECT lk_check('SELECT count(*), sum(a.id * b.id) FROM lk a JOIN lk b ON a.k = b.k WHERE a.k > ''a''');
SET enable_mergejoin = off; SET enable_nestloop = on;
SELECT lk_check('SELECT count(*), sum(a.id), sum(b.id), sum(a.id * b.id) FROM lk a JOIN lk b ON a.k = b.k');
RESET enable_hashjoin; RESET enable_nestloop; RESET enable_mergejoin; RESET enable_material;

-- What the transaction has written itself lies between; and can be taken back.
BEGIN;
UPDATE lk_heap SET k = k || 'y', n = n + 1 WHERE id % 4 = 0 AND length(k) < 2600;
UPDATE lk_conc SET k = k || 'y', n = n + 1 WHERE id % 4 = 0 AND length(k) < 2600;
DELETE FROM lk_heap WHERE id % 11 = 0;
DELETE FROM lk_conc WHERE id % 11 = 0;
SELECT lk_check('SELECT k, n, id FROM lk ORDER BY k, n, id');
SAVEPOINT s;
INSERT INTO lk_heap (id, k, n) SELECT 5000 + g, lk_text('600', 600) || g, 1 FROM generate_series(1, 20) g;
INSERT INTO lk_conc (id, k, n) SELECT 5000 + g, lk_text('600', 600) || g, 1 FROM generate_series(1, 20) g;
SELECT lk_check('SELECT k, n, id FROM lk ORDER BY k DESC, n DESC, id DESC');
SELECT lk_walk('lk_heap', q, steps) = lk_walk('lk_conc', q, steps) AS same
	FROM (VALUES ('SELECT k, n, id FROM lk ORDER BY k, n, id')) v (q),
		(SELECT array_agg((random() * 40)::int - 18) || 700 || -900 AS steps FROM generate_series(1, 100)) s;
ROLLBACK TO s;
SELECT lk_check('SELECT k, n, id FROM lk WHERE k > lk_text(''600'', 600) ORDER BY k, n, id');
COMMIT;
SELECT lk_check('SELECT k, n, id FROM lk ORDER BY k, n, id');
SELECT * FROM concord.check('lk_conc');

-- Parallel scans leave groups whole.
INSERT INTO lk_heap (id, k, n) SELECT 10000 + g, lk_text('6' || g % 5 || '0', 600) || md5(g::text), g % 7 FROM generate_series(1, 2500) g;
INSERT INTO lk_conc (id, k, n) SELECT 10000 + g, lk_text('6' || g % 5 || '0', 600) || md5(g::text), g % 7 FROM generate_series(1, 2500) g;
SET max_parallel_workers_per_gather = 2; SET min_parallel_table_scan_size = 0; SET min_parallel_index_scan_size = 0;
SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET cpu_tuple_cost = 1;
ANALYZE lk_heap;
ANALYZE lk_conc;
EXPLAIN (COSTS OFF) SELECT k, n, id FROM lk_conc ORDER BY k, n, id;
SELECT lk_check('SELECT k, n, id FROM lk ORDER BY k, n, id');
SELECT lk_check('SELECT k, n, id FROM lk WHERE k > lk_text(''600'', 600) ORDER BY k DESC, n DESC, id DESC');
SELECT lk_check('SELECT count(*), sum(id) FROM lk WHERE n IN (1, 2, 5) AND k >= lk_text(''600'', 600)');
RESET parallel_setup_cost; RESET parallel_tuple_cost; RESET cpu_tuple_cost;
SET max_parallel_workers_per_gather = 0;
DELETE FROM lk_heap WHERE id > 10200;
DELETE FROM lk_conc WHERE id > 10200;

-- Made anew, concurrently too; bitmaps.
REINDEX INDEX lk_conc_i;
REINDEX INDEX CONCURRENTLY lk_conc_n;
CREATE INDEX CONCURRENTLY lk_conc_c ON lk_conc (k COLLATE "C" DESC);
CLUSTER lk_conc USING lk_conc_i;
VACUUM FULL lk_conc;
SELECT * FROM concord.check('lk_conc');
SELECT lk_check('SELECT k, n, id FROM lk ORDER BY k, n, id');
SELECT lk_check('SELECT n, k, id FROM lk WHERE n = 2 ORDER BY n, k DESC, id');
SET enable_bitmapscan = on; SET enable_indexscan = off; SET enable_indexonlyscan = off;
SELECT lk_check('SELECT count(*), sum(id) FROM lk WHERE k > lk_text(''600'', 600) AND k < lk_text(''600'', 600) || ''9''');
SELECT lk_check('SELECT count(*), sum(id) FROM lk WHERE k = lk_text(''600'', 600) || lk_text(''tail 9'', 9)');
RESET enable_bitmapscan; RESET enable_indexscan; RESET enable_indexonlyscan;
SET enable_bitmapscan = off;
DROP TABLE lk_heap, lk_conc;

-- The limit, as btree has it.
CREATE TABLE lk_heap (k text, b bytea) USING heap;
CREATE TABLE lk_conc (k text, b bytea) USING concord;
CREATE INDEX lk_heap_i ON lk_heap (k) INCLUDE (b);
CREATE INDEX lk_conc_i ON lk_conc (k) INCLUDE (b);
CREATE FUNCTION lk_try(statement text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	tab text;
	detail text;
	hint text;
BEGIN
	FOREACH tab IN ARRAY ARRAY['lk_heap', 'lk_conc'] LOOP
		BEGIN
			EXECUTE replace(statement, 'lk', tab);
			RETURN NEXT tab || ': done';
		EXCEPTION WHEN others THEN
			GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
			RETURN NEXT concat_ws(E'\n', SQLSTATE || ' ' || SQLERRM, regexp_replace(detail, '\(\d+,\d+\)', '(...)'), hint);
		END;
	END LOOP;
END $$;
SELECT lk_try(format('INSERT INTO lk VALUES (%L)', lk_text('a', 2684)));
SELECT lk_try(format('INSERT INTO lk VALUES (%L)', lk_text('a', 2685)));
SELECT lk_try(format('INSERT INTO lk VALUES (%L, %L::bytea)', lk_text('b', 1300), lk_text('c', 1388)));
SELECT lk_try(format('INSERT INTO lk VALUES (%L, %L::bytea)', lk_text('b', 1300), lk_text('c', 1389)));
SELECT lk_try(format('INSERT INTO lk VALUES (''short'', %L::bytea)', lk_text('c', 3000)));
SELECT lk_try(format('INSERT INTO lk VALUES (%L)', lk_text('d', 9000)));
SELECT lk_try('INSERT INTO lk VALUES (repeat(''compressed '', 10000))');
SELECT lk_try(format('UPDATE lk SET k = %L WHERE k ~ ''compressed''', lk_text('a', 2685)));
DROP INDEX lk_heap_i, lk_conc_i;
INSERT INTO lk_heap SELECT lk_text('e', 2693);
INSERT INTO lk_conc SELECT lk_text('e', 2693);
\set VERBOSITY terse
CREATE INDEX lk_heap_i ON lk_heap (k);
CREATE INDEX lk_conc_i ON lk_conc (k);
\set VERBOSITY default
DROP TABLE lk_heap, lk_conc;

-- Uniqueness.
CREATE TABLE lk_u (k text COLLATE "C" UNIQUE, d text UNIQUE DEFERRABLE INITIALLY DEFERRED, n int) USING concord;
INSERT INTO lk_u SELECT lk_text('u', 1000) || g, lk_text('d', 800) || g, g FROM generate_series(1, 20) g;
\set VERBOSITY sqlstate
INSERT INTO lk_u VALUES (lk_text('u', 1000) || 7);
\set VERBOSITY default
INSERT INTO lk_u VALUES (lk_text('u', 1000) || 7, NULL, 100) ON CONFLICT (k) DO NOTHING;
INSERT INTO lk_u VALUES (lk_text('u', 1000) || 7, NULL, 100) ON CONFLICT (k) DO UPDATE SET n = EXCLUDED.n;
INSERT INTO lk_u VALUES (lk_text('u', 1000) || 21, lk_text('d', 800) || 21, 21) ON CONFLICT (k) DO NOTHING;
SELECT right(k, 2), right(d, 2), n FROM lk_u WHERE n > 20 ORDER BY n;
UPDATE lk_u SET n = 7 WHERE n = 100;
UPDATE lk_u SET d = lk_text('d', 800) || (n % 21 + 1) WHERE n <= 21;
BEGIN;
UPDATE lk_u SET d = lk_text('d', 800) || 3 WHERE n = 5;
\set VERBOSITY sqlstate
COMMIT;
UPDATE lk_u SET k = lk_text('u', 1000) || 3 WHERE n = 5;
CREATE UNIQUE INDEX lk_u_left ON lk_u (left(k, 1000));
\set VERBOSITY default
DELETE FROM lk_u WHERE n = 3;
UPDATE lk_u SET k = lk_text('u', 1000) || 3 WHERE n = 5;
SELECT count(*) FROM lk_u WHERE k = lk_text('u', 1000) || 3;
CREATE TABLE lk_child (k text COLLATE "C" REFERENCES lk_u (k) ON UPDATE CASCADE ON DELETE CASCADE) USING concord;
CREATE INDEX ON lk_child (k);
INSERT INTO lk_child SELECT k FROM lk_u WHERE n BETWEEN 10 AND 15;
\set VERBOSITY sqlstate
INSERT INTO lk_child VALUES (lk_text('u', 1000) || 99);
\set VERBOSITY default
UPDATE lk_u SET k = k || 'moved' WHERE n = 12;
DELETE FROM lk_u WHERE n = 13;
SELECT right(k, 7) FROM lk_child ORDER BY k;
SELECT * FROM concord.check('lk_u');
SELECT * FROM concord.check('lk_child');
DROP TABLE lk_child, lk_u;

-- Two keys that agree in their beginning and in their hash: XXH128 can be led into it.
CREATE TABLE lk_hash (id int, b bytea) USING concord;
CREATE INDEX lk_hash_i ON lk_hash (b);
CREATE FUNCTION lk_collide(x bytea, y bytea) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$
	SELECT overlay(overlay(convert_to(repeat('k', 1097), 'UTF8') PLACING '\x3c2852bb'::bytea || x FROM 512)
				   PLACING '\x88d0658b'::bytea || y FROM 576)
$$;
INSERT INTO lk_hash VALUES (1, lk_collide('bbaa', 'aabb')), (2, lk_collide('aaaa', 'bbbb')), (3, lk_collide('bbaa', 'bbbb')),
	(4, lk_collide('aaaa', 'bbbb'));
SELECT id FROM lk_hash ORDER BY b;
SELECT id FROM lk_hash ORDER BY b DESC;
SELECT id FROM lk_hash WHERE b = lk_collide('aaaa', 'bbbb');
SELECT id FROM lk_hash WHERE b = lk_collide('bbaa', 'aabb');
SELECT id FROM lk_hash WHERE b > lk_collide('aaaa', 'bbbb') ORDER BY b;
\set VERBOSITY sqlstate
CREATE UNIQUE INDEX lk_hash_u ON lk_hash (b);
\set VERBOSITY default
DELETE FROM lk_hash WHERE id = 4;
SELECT * FROM concord.check('lk_hash');
CREATE UNIQUE INDEX lk_hash_u ON lk_hash (b);
\set VERBOSITY sqlstate
INSERT INTO lk_hash VALUES (5, lk_collide('aaaa', 'bbbb'));
INSERT INTO lk_hash VALUES (5, lk_collide('bbaa', 'aabb'));
UPDATE lk_hash SET b = lk_collide('bbaa', 'aabb') WHERE id = 2;
\set VERBOSITY default
INSERT INTO lk_hash VALUES (5, lk_collide('bbaa', 'aabb')) ON CONFLICT DO NOTHING;
INSERT INTO lk_hash VALUES (5, lk_collide('bbaa', 'aabb')) ON CONFLICT (b) DO UPDATE SET id = 11;
SELECT id FROM lk_hash WHERE b = lk_collide('bbaa', 'aabb');
SELECT id FROM lk_hash WHERE b = lk_collide('aaaa', 'bbbb');
DELETE FROM lk_hash WHERE id = 11;
UPDATE lk_hash SET b = lk_collide('bbaa', 'aabb') WHERE id = 2;
INSERT INTO lk_hash VALUES (1, lk_collide('aaaa', 'bbbb'));
SELECT id FROM lk_hash WHERE b = lk_collide('bbaa', 'aabb');
SELECT id FROM lk_hash WHERE b = lk_collide('aaaa', 'bbbb');
SELECT * FROM concord.check('lk_hash');
DROP INDEX lk_hash_u;
ALTER TABLE lk_hash ADD CONSTRAINT lk_hash_d UNIQUE (b) DEFERRABLE;
INSERT INTO lk_hash VALUES (4, lk_collide('aaaa', 'aabb'));
\set VERBOSITY sqlstate
INSERT INTO lk_hash VALUES (5, lk_collide('aaaa', 'bbbb'));
\set VERBOSITY default
SELECT id FROM lk_hash ORDER BY b;
SELECT * FROM concord.check('lk_hash');
DROP TABLE lk_hash;
DROP FUNCTION lk_text, lk_check, lk_check_index, lk_walk, lk_try, lk_collide;
