-- Parallel index scans: every entry once, in order, whatever the range. Results made by heap.
CREATE TABLE px (id int PRIMARY KEY, grp int, body text);
INSERT INTO px SELECT i, i % 7, 'row ' || i FROM generate_series(1, 30000) i;
CREATE INDEX ON px (grp, id);
ANALYZE px;
SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
SET min_parallel_index_scan_size = 0; SET max_parallel_workers_per_gather = 3; 
SET enable_seqscan = off; SET enable_bitmapscan = off;
EXPLAIN (COSTS OFF) SELECT count(*), sum(id) FROM px WHERE id BETWEEN 5000 AND 25000;
SELECT count(*), sum(id) FROM px WHERE id BETWEEN 5000 AND 25000;
EXPLAIN (COSTS OFF) SELECT count(*), sum(length(body)) FROM px WHERE id > 100;
SELECT count(*), sum(length(body)) FROM px WHERE id > 100;
-- ordered, both ways
EXPLAIN (COSTS OFF) SELECT id, body FROM px WHERE grp = 3 AND length(body) > 8 ORDER BY id;
SELECT count(*), bool_and(ok) FROM (SELECT id > lag(id) OVER () IS NOT FALSE AS ok FROM (SELECT id, body FROM px WHERE length(body) > 8 ORDER BY id OFFSET 0) x) y;
EXPLAIN (COSTS OFF) SELECT id, body FROM px WHERE length(body) > 8 ORDER BY id DESC OFFSET 29000;
SELECT count(*), bool_and(coalesce(id < before, true)) FROM (SELECT id, lag(id) OVER () AS before FROM (SELECT id, body FROM px WHERE length(body) > 8 ORDER BY id DESC OFFSET 0) x) y;
-- arrays
SELECT count(*), sum(id) FROM px WHERE grp = ANY ('{6,1,99,3,-5,1}') AND id > 77;
SELECT count(*), sum(length(body)) FROM px WHERE grp = ANY ('{6,1,99,3,-5,1}') AND id > 77;
SELECT count(*) FROM px WHERE grp = ANY ('{99,-5}');
SELECT count(*), sum(id) FROM px WHERE id = ANY (ARRAY(SELECT i * 3 FROM generate_series(1, 3000) i));
-- a worker that joins when another one is further in the array
CREATE FUNCTION slowly(int) RETURNS boolean LANGUAGE sql PARALLEL SAFE AS 'SELECT pg_sleep(0.0002) IS NOT NULL';
SET parallel_leader_participation = off;
SELECT count(*), sum(id) FROM px WHERE grp = ANY ('{-5,1,3,6}') AND id > 24000 AND slowly(id);
SELECT count(*), sum(id) FROM px WHERE grp = ANY ('{-5,1,3,6}') AND grp > 1 AND id = ANY ('{29997,29998,-1,29999,30000,29991}') AND slowly(id);
RESET parallel_leader_participation;
-- rescans
SET enable_material = off; SET enable_hashjoin = off; SET enable_mergejoin = off;
EXPLAIN (COSTS OFF) SELECT v, n FROM (VALUES (1), (2), (3)) t(v) LEFT JOIN (SELECT count(*) n FROM px WHERE id > 500) s ON true;
SELECT v, n FROM (VALUES (1), (2), (3)) t(v) LEFT JOIN (SELECT count(*) n FROM px WHERE id > 500) s ON true;
-- own versions among them
BEGIN;
DELETE FROM px WHERE id % 3 = 0;
UPDATE px SET id = id + 100000 WHERE id % 10 = 1;
INSERT INTO px SELECT i, 3, 'own' FROM generate_series(40001, 42000) i;
SELECT count(*), sum(id) FROM px WHERE id > 100;
SELECT count(*), sum(length(body)) FROM px WHERE id > 100;
SELECT count(*), bool_and(ok) FROM (SELECT id > lag(id) OVER () IS NOT FALSE AS ok FROM (SELECT id, body FROM px WHERE length(body) > 2 ORDER BY id OFFSET 0) x) y;
SELECT count(*), sum(id) FROM px WHERE grp = ANY ('{6,1,99,3,-5,1}') AND id > 77;
SET LOCAL max_parallel_workers_per_gather = 0;
SELECT count(*), sum(id) FROM px WHERE id > 100;
ROLLBACK;
-- limit, cursors that stop early
SELECT id FROM px WHERE grp = 2 AND length(body) > 4 ORDER BY id LIMIT 3;
DROP TABLE px;
DROP FUNCTION slowly;
