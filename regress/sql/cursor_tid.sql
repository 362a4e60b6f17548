-- Cursors of all kinds, WHERE CURRENT OF, conditions on ctid, samples, parallel queries after own writes, prepared statements.
CREATE TABLE ct_t (id int PRIMARY KEY, v int, w text);
INSERT INTO ct_t SELECT g, g % 10, 'w' || g FROM generate_series(1, 100) g;
-- WITH HOLD and SCROLL; what a cursor sees of what comes after it
BEGIN;
DECLARE h SCROLL CURSOR WITH HOLD FOR SELECT id, v FROM ct_t ORDER BY id;
FETCH FORWARD 2 FROM h;
DELETE FROM ct_t WHERE id = 3;
UPDATE ct_t SET v = -1 WHERE id = 4;
FETCH 2 FROM h;
COMMIT;
FETCH RELATIVE -1 FROM h;
FETCH LAST FROM h;
FETCH ABSOLUTE -2 FROM h;
MOVE BACKWARD ALL IN h;
FETCH NEXT FROM h;
SELECT name, statement LIKE 'DECLARE%' AS declared, is_holdable, is_scrollable FROM pg_cursors;
CLOSE h;
BEGIN;
DECLARE n NO SCROLL CURSOR FOR SELECT id FROM ct_t ORDER BY id;
FETCH 2 FROM n;
FETCH PRIOR FROM n;
ROLLBACK;
BEGIN;
INSERT INTO ct_t VALUES (200, 0, 'own');
DECLARE h CURSOR WITH HOLD FOR SELECT id FROM ct_t WHERE id > 98 ORDER BY id;
FETCH 1 FROM h;
ROLLBACK;
FETCH 1 FROM h;
-- INSENSITIVE, joins, savepoints: a cursor opened in one that is rolled back is gone, one moved in it stays moved
BEGIN;
DECLARE i INSENSITIVE CURSOR FOR SELECT a.id, b.w FROM ct_t a JOIN ct_t b ON b.id = a.v + 1 WHERE a.id < 10 ORDER BY a.id;
SAVEPOINT s;
FETCH 2 FROM i;
DECLARE j CURSOR FOR SELECT 1;
ROLLBACK TO s;
FETCH 1 FROM i;
SAVEPOINT s;
FETCH 1 FROM j;
ROLLBACK TO s;
CLOSE ALL;
COMMIT;
-- WHERE CURRENT OF: a row again, a row gone, a scan by index, a partition, what cannot be
BEGIN;
DECLARE c CURSOR FOR SELECT * FROM ct_t WHERE id BETWEEN 10 AND 12 ORDER BY id FOR UPDATE;
SAVEPOINT s;
UPDATE ct_t SET v = 0 WHERE CURRENT OF c;
ROLLBACK TO s;
FETCH 1 FROM c;
UPDATE ct_t SET v = 100 WHERE CURRENT OF c RETURNING *;
UPDATE ct_t SET v = 101 WHERE CURRENT OF c RETURNING *;
DELETE FROM ct_t WHERE CURRENT OF c RETURNING id;
SAVEPOINT s;
UPDATE ct_t SET v = 0 WHERE CURRENT OF c;
ROLLBACK TO s;
FETCH 1 FROM c;
MOVE 1 FROM c;
DELETE FROM ct_t WHERE CURRENT OF c RETURNING id;
COMMIT;
BEGIN;
DECLARE c CURSOR FOR SELECT v FROM ct_t WHERE id = 20;
FETCH 1 FROM c;
UPDATE ct_t SET v = 2000 WHERE CURRENT OF c;
SELECT v FROM ct_t WHERE id = 20;
DECLARE g CURSOR FOR SELECT count(*) FROM ct_t;
FETCH 1 FROM g;
DELETE FROM ct_t WHERE CURRENT OF g;
ROLLBACK;
CREATE TABLE ct_p (id int, k int) PARTITION BY LIST (k);
CREATE TABLE ct_p1 PARTITION OF ct_p FOR VALUES IN (1);
CREATE TABLE ct_p2 PARTITION OF ct_p FOR VALUES IN (2);
INSERT INTO ct_p VALUES (1, 1), (2, 1), (3, 2), (4, 2);
BEGIN;
DECLARE c CURSOR FOR SELECT * FROM ct_p WHERE id > 1;
FETCH 1 FROM c;
UPDATE ct_p SET id = id + 10 WHERE CURRENT OF c RETURNING tableoid::regclass, *;
UPDATE ct_p2 SET id = id + 10 WHERE CURRENT OF c;
FETCH 1 FROM c;
UPDATE ct_p SET k = 1 WHERE CURRENT OF c RETURNING tableoid::regclass, *;
DELETE FROM ct_p WHERE CURRENT OF c;
FETCH 1 FROM c;
DELETE FROM ct_p2 WHERE CURRENT OF c RETURNING *;
COMMIT;
SELECT tableoid::regclass, * FROM ct_p ORDER BY id;
DROP TABLE ct_p;
DO $$
DECLARE
  c CURSOR (low int) FOR SELECT * FROM ct_t WHERE id > low ORDER BY id FOR UPDATE;
BEGIN
  FOR r IN c (95) LOOP
    IF r.id % 2 = 0 THEN DELETE FROM ct_t WHERE CURRENT OF c; ELSE UPDATE ct_t SET w = 'loop' WHERE CURRENT OF c; END IF;
  END LOOP;
END $$;
SELECT * FROM ct_t WHERE id > 94 ORDER BY id;
-- loops that commit
DO $$
DECLARE
  r record;
BEGIN
  FOR r IN SELECT id FROM ct_t WHERE id BETWEEN 30 AND 33 ORDER BY id LOOP
    UPDATE ct_t SET v = r.id WHERE id = r.id;
    IF r.id % 2 = 0 THEN COMMIT; ELSE ROLLBACK; END IF;
  END LOOP;
END $$;
SELECT id, v FROM ct_t WHERE id BETWEEN 30 AND 33 ORDER BY id;
-- ctid: =, ANY, ranges, joins, own rows, aliases of rows just changed
SELECT id FROM ct_t WHERE ctid = (SELECT ctid FROM ct_t WHERE id = 50);
SELECT id FROM ct_t WHERE ctid = ANY (ARRAY(SELECT ctid FROM ct_t WHERE id IN (51, 52))) ORDER BY id;
SELECT id FROM ct_t WHERE ctid IN ('(0,0)', '(4294967295,0)', '(4294967295,65535)', '(0,65535)', '(16777216,1)');
SELECT id FROM ct_t WHERE ctid = '(4278190080,1)' OR ctid = '(4294967294,291)';
SELECT count(*) FROM ct_t WHERE ctid > '(4278190080,1)';
SELECT count(*) = (SELECT count(*) FROM ct_t) AS everything FROM ct_t WHERE ctid >= '(0,0)' AND ctid <= '(4294967295,65535)';
SELECT count(*) FROM ct_t WHERE ctid < '(0,0)' OR ctid > '(4294967294,65535)';
EXPLAIN (COSTS OFF) SELECT * FROM ct_t WHERE ctid = '(0,1)';
EXPLAIN (COSTS OFF) SELECT * FROM ct_t WHERE ctid > '(0,1)' AND ctid <= '(1,0)';
BEGIN;
UPDATE ct_t SET v = 500 WHERE id = 50;
SELECT t.v FROM ct_t t WHERE ctid = (SELECT ctid FROM ct_t WHERE id = 50);
UPDATE ct_t SET v = 501 WHERE ctid = (SELECT ctid FROM ct_t WHERE id = 50) RETURNING v;
WITH x AS (DELETE FROM ct_t WHERE ctid = ANY (ARRAY(SELECT ctid FROM ct_t WHERE id IN (50, 51))) RETURNING id) SELECT id FROM x ORDER BY id;
INSERT INTO ct_t VALUES (300, 3, 'own');
SELECT id FROM ct_t WHERE ctid = (SELECT ctid FROM ct_t WHERE id = 300);
SELECT count(*) FROM ct_t a JOIN ct_t b ON a.ctid = b.ctid;
SELECT id FROM ct_t WHERE ctid = (SELECT currtid2('ct_t', ctid) FROM ct_t WHERE id = 300);
ROLLBACK;
DELETE FROM ct_t a USING ct_t b WHERE a.v = b.v AND a.ctid > b.ctid AND a.id BETWEEN 60 AND 69 AND b.id BETWEEN 60 AND 69;
-- samples
SELECT count(*) FROM ct_t TABLESAMPLE BERNOULLI (0);
SELECT count(*) = (SELECT count(*) FROM ct_t) AS everything FROM ct_t TABLESAMPLE SYSTEM (100) REPEATABLE (3);
SELECT count(*) BETWEEN 20 AND 80 AS half FROM ct_t TABLESAMPLE BERNOULLI (50) REPEATABLE (7);
SELECT (SELECT array_agg(id ORDER BY id) FROM ct_t TABLESAMPLE BERNOULLI (50) REPEATABLE (7)) =
  (SELECT array_agg(id ORDER BY id) FROM ct_t TABLESAMPLE BERNOULLI (50) REPEATABLE (7)) AS repeated;
BEGIN;
INSERT INTO ct_t VALUES (400, 4, 'own');
SELECT count(*) FROM ct_t TABLESAMPLE SYSTEM (100) WHERE id = 400;
ROLLBACK;
-- parallel plans of many kinds, before and after own writes, in functions
SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; SET min_parallel_index_scan_size = 0;
CREATE TABLE ct_big AS SELECT g AS id, g % 100 AS k, repeat('x', 20) AS pad FROM generate_series(1, 30000) g;
CREATE INDEX ct_big_k ON ct_big (k);
ANALYZE ct_big;
SELECT count(*), sum(id) FROM ct_big WHERE pad LIKE 'x%';
SELECT k, count(*) FROM ct_big WHERE k < 3 GROUP BY k ORDER BY k;
SELECT count(*) FROM ct_big a JOIN ct_big b USING (id) WHERE a.k = 7;
SELECT count(*) FROM (SELECT id FROM ct_big ORDER BY id DESC LIMIT 20000) x;
SELECT count(*) FROM (SELECT DISTINCT k FROM ct_big UNION ALL SELECT k FROM ct_big WHERE id < 10) x;
CREATE FUNCTION ct_sum(int) RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE AS 'SELECT sum(id) FROM ct_big WHERE k = $1';
SELECT ct_sum(5);
PREPARE ct_q (int) AS SELECT count(*) FROM ct_big WHERE id > $1;
EXECUTE ct_q (100);
BEGIN;
DELETE FROM ct_big WHERE id <= 10000;
SELECT count(*), sum(id) FROM ct_big WHERE pad LIKE 'x%';
EXECUTE ct_q (100);
SELECT ct_sum(5);
CREATE TABLE ct_copy AS SELECT * FROM ct_big WHERE k = 1;
SELECT count(*) FROM ct_copy a JOIN ct_big b USING (id);
ROLLBACK;
EXECUTE ct_q (100);
SELECT ct_sum(5);
CREATE TABLE ct_copy AS SELECT * FROM ct_big WHERE k = 1;
SELECT count(*) FROM ct_copy;
RESET ALL;
-- prepared statements over changes of the table
PREPARE ct_all AS SELECT * FROM ct_copy ORDER BY id LIMIT 1;
EXECUTE ct_all;
ALTER TABLE ct_copy ADD COLUMN more int DEFAULT 1;
EXECUTE ct_all;
PREPARE ct_k (int) AS SELECT count(*) FROM ct_copy WHERE k = $1;
EXECUTE ct_k (1); EXECUTE ct_k (1); EXECUTE ct_k (1); EXECUTE ct_k (1); EXECUTE ct_k (1); EXECUTE ct_k (1);
CREATE INDEX ON ct_copy (k);
EXECUTE ct_k (1);
TRUNCATE ct_copy;
EXECUTE ct_k (1);
DEALLOCATE ALL;
DROP TABLE ct_t, ct_big, ct_copy;
DROP FUNCTION ct_sum(int);
