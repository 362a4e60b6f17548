-- Parallel queries of a transaction that has written: workers see what it does. Made by heap.
CREATE TABLE pl (id int PRIMARY KEY, grp int, body text);
INSERT INTO pl SELECT i, i % 10, 'row ' || i FROM generate_series(1, 5000) i;
ANALYZE pl;
SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
SET min_parallel_index_scan_size = 0; SET max_parallel_workers_per_gather = 2; SET parallel_leader_participation = off;

-- Own versions of every kind: inserted, updated twice, deleted, rolled back, unchanged.
BEGIN;
INSERT INTO pl SELECT i, 100, 'own' FROM generate_series(6001, 6010) i;
UPDATE pl SET grp = 200 WHERE id BETWEEN 1 AND 20;
UPDATE pl SET body = body || '!' WHERE id BETWEEN 11 AND 30;
DELETE FROM pl WHERE id BETWEEN 41 AND 50;
SAVEPOINT s;
UPDATE pl SET grp = 300 WHERE id < 1000;
ROLLBACK TO s;
DELETE FROM pl WHERE id = 6010;
EXPLAIN (COSTS OFF) SELECT count(*), sum(grp), sum(length(body)) FROM pl;
SELECT count(*), sum(grp), sum(length(body)) FROM pl;
SELECT grp, count(*), min(id), max(body) FROM pl WHERE grp >= 9 GROUP BY grp ORDER BY grp;
SET LOCAL enable_seqscan = off; SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off;
EXPLAIN (COSTS OFF) SELECT count(*), sum(grp) FROM pl WHERE id > 4000;
SELECT count(*), sum(grp) FROM pl WHERE id > 4000;
-- Index scans in workers, beside a parallel scan.
RESET enable_seqscan; RESET enable_indexscan; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off;
SET LOCAL enable_material = off; SET LOCAL enable_memoize = off; SET LOCAL enable_bitmapscan = off;
SET LOCAL concord.nestloop_batch = 0; -- the same plan where reads are remote
EXPLAIN (COSTS OFF) SELECT count(*), sum(b.grp) FROM pl a JOIN pl b ON b.id = a.id + 1 WHERE a.grp > 5;
RESET concord.nestloop_batch;
SELECT count(*), sum(b.grp) FROM pl a JOIN pl b ON b.id = a.id + 1 WHERE a.grp > 5;
-- A function that reads, in workers; and what no command has seen yet.
CREATE FUNCTION grp_of(int) RETURNS int LANGUAGE plpgsql STABLE PARALLEL SAFE AS
  $$ BEGIN RETURN (SELECT grp FROM pl WHERE id = $1); END $$;
SELECT sum(grp_of(id)) FROM pl WHERE id <= 60 OR id > 6000;
COMMIT;
SELECT count(*), sum(grp), sum(length(body)) FROM pl;

-- A table of the transaction's own: loaded before and after its index was made, emptied, made anew.
BEGIN;
CREATE TABLE pl_new AS SELECT id, grp FROM pl;
ANALYZE pl_new;
EXPLAIN (COSTS OFF) SELECT count(*), sum(grp) FROM pl_new;
SELECT count(*), sum(grp) FROM pl_new;
CREATE INDEX ON pl_new (id);
INSERT INTO pl_new SELECT i, 1 FROM generate_series(1, 100) i;
UPDATE pl_new SET grp = 7 WHERE id < 10;
SELECT count(*), sum(grp) FROM pl_new;
TRUNCATE pl;
SELECT count(*) FROM pl;
INSERT INTO pl VALUES (1, 1, 'one');
SELECT count(*), sum(grp) FROM pl;
ROLLBACK;
SELECT count(*), sum(grp), sum(length(body)) FROM pl;

-- A plan made before the transaction had written; a function with a plan of its own within a parallel query.
PREPARE q AS SELECT count(*), sum(grp) FROM pl;
EXECUTE q;
CREATE FUNCTION total() RETURNS bigint LANGUAGE plpgsql STABLE PARALLEL RESTRICTED AS
  $$ BEGIN RETURN (SELECT sum(grp) FROM pl); END $$;
SELECT total();
BEGIN;
DELETE FROM pl WHERE id > 10;
EXECUTE q;
SELECT count(*), total() FROM pl;
ROLLBACK;
EXECUTE q;

-- An error in a worker leaves nothing behind.
BEGIN;
UPDATE pl SET grp = 0 WHERE id = 77;
SAVEPOINT s;
SELECT sum(1 / grp) FROM pl WHERE id = 77;
ROLLBACK TO s;
SELECT count(*) FROM pl WHERE grp = 0 AND id = 77;
COMMIT;
DROP TABLE pl;
DROP FUNCTION grp_of, total;
