-- Bitmaps that outgrow work_mem keep blocks instead of rows: every row of such a block is looked at again.
CREATE TABLE bi (id int, k int);
INSERT INTO bi SELECT g, g % 10 FROM generate_series(1, 330000) g;
CREATE INDEX bi_k ON bi (k);
CREATE FUNCTION bi_lossy(query text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE line text;
BEGIN
  FOR line IN EXECUTE 'EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) ' || query LOOP
    IF line ~ 'Heap Blocks:.* lossy=[1-9]' THEN RETURN true; END IF;
  END LOOP;
  RETURN false;
END $$;
SET enable_seqscan = off; SET enable_indexscan = off; SET enable_indexonlyscan = off; SET max_parallel_workers_per_gather = 0;
SET work_mem = '64kB';
EXPLAIN (COSTS OFF) SELECT count(*), sum(id) FROM bi WHERE k = 3;
SELECT bi_lossy('SELECT count(*), sum(id) FROM bi WHERE k = 3');
SELECT count(*), sum(id) FROM bi WHERE k = 3;
SELECT count(*), sum(id) FROM bi WHERE k = 3 OR k = 7;
-- with what the transaction itself has changed
BEGIN;
UPDATE bi SET k = 3 WHERE id % 1000 = 0;
DELETE FROM bi WHERE id IN (3, 13, 23);
INSERT INTO bi VALUES (-1, 3), (-2, 4);
SELECT bi_lossy('SELECT count(*), sum(id) FROM bi WHERE k = 3');
SELECT count(*), sum(id) FROM bi WHERE k = 3;
ROLLBACK;
SET work_mem = '4MB';
SELECT bi_lossy('SELECT count(*), sum(id) FROM bi WHERE k = 3');
SELECT count(*), sum(id) FROM bi WHERE k = 3;
DROP TABLE bi;
DROP FUNCTION bi_lossy;
