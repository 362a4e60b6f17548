-- REPEATABLE READ has one snapshot, and so has SERIALIZABLE.
CREATE TABLE il_t (a int);
INSERT INTO il_t VALUES (1);
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT * FROM il_t;
INSERT INTO il_t VALUES (2);
SELECT * FROM il_t ORDER BY a;
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT * FROM il_t ORDER BY a;
INSERT INTO il_t VALUES (3);
SELECT * FROM il_t ORDER BY a;
COMMIT;
BEGIN READ ONLY;
SELECT count(*) FROM il_t;
INSERT INTO il_t VALUES (4);
ROLLBACK;
BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE;
SELECT count(*) FROM il_t;
COMMIT;
-- The level is set before the first query.
BEGIN;
SELECT count(*) FROM il_t;
SET TRANSACTION ISOLATION LEVEL SERIALIZABLE;
ROLLBACK;
-- All that a transaction can do, in SERIALIZABLE.
SET default_transaction_isolation = 'serializable';
CREATE TABLE il_parent (id int PRIMARY KEY, name text);
-- An ANALYZE of autovacuum's would have a cached plan made anew.
CREATE TABLE il_child (id int PRIMARY KEY, parent int REFERENCES il_parent ON DELETE CASCADE, tag text UNIQUE DEFERRABLE)
  WITH (autovacuum_enabled = off);
INSERT INTO il_parent SELECT i, 'parent ' || i FROM generate_series(1, 1000) i;
INSERT INTO il_child SELECT i, i % 1000 + 1, 'tag ' || i FROM generate_series(1, 3000) i;
BEGIN;
SELECT count(*), sum(c.id) FROM il_parent p JOIN il_child c ON c.parent = p.id WHERE p.id <= 10;
UPDATE il_child SET tag = 'tag ' || 101 - id WHERE id <= 100;
SAVEPOINT a;
INSERT INTO il_parent VALUES (1, 'duplicate');
ROLLBACK TO a;
INSERT INTO il_parent VALUES (1, 'again'), (2000, 'new') ON CONFLICT (id) DO UPDATE SET name = excluded.name;
DELETE FROM il_parent WHERE id = 5;
DECLARE c SCROLL CURSOR WITH HOLD FOR SELECT id FROM il_child WHERE id < 20 ORDER BY id;
FETCH 3 FROM c;
FETCH BACKWARD 1 FROM c;
ROLLBACK;
BEGIN;
SELECT count(*) FROM il_child WHERE tag > 'tag 29';
DECLARE c SCROLL CURSOR WITH HOLD FOR SELECT id FROM il_child WHERE id < 20 ORDER BY id;
FETCH 3 FROM c;
FETCH BACKWARD 1 FROM c;
DELETE FROM il_parent WHERE id = 5;
SELECT count(*) FROM il_child TABLESAMPLE SYSTEM (100) REPEATABLE (1);
COMMIT;
FETCH 2 FROM c;
CLOSE c;
-- A duplicate that is caught has been read.
DO $$
BEGIN
  INSERT INTO il_parent VALUES (1, 'duplicate');
EXCEPTION WHEN unique_violation THEN
  INSERT INTO il_parent VALUES (3000, 'instead');
END $$;
SELECT * FROM il_parent WHERE id IN (1, 3000) ORDER BY id;
-- Workers would not tell what they have read.
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
EXPLAIN (COSTS OFF) SELECT count(*) FROM il_child;
BEGIN READ ONLY;
EXPLAIN (COSTS OFF) SELECT count(*) FROM il_child;
PREPARE il_count AS SELECT count(*) FROM il_child;
SET LOCAL plan_cache_mode = force_generic_plan;
EXECUTE il_count;
COMMIT;
BEGIN;
SET LOCAL plan_cache_mode = force_generic_plan;
EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) EXECUTE il_count;
INSERT INTO il_t VALUES (5);
COMMIT;
DEALLOCATE il_count;
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;
-- DDL, and the smallest read set: everything is read then.
SET concord.max_read_set = 3;
SET concord.max_read_set = 4;
BEGIN;
SELECT count(*) FROM (SELECT id FROM il_child WHERE id % 2 = 0 AND id IN (SELECT 2 * i FROM generate_series(1, 1000) i)) s;
ALTER TABLE il_child ADD COLUMN extra int DEFAULT 7;
CREATE INDEX il_extra ON il_child (extra);
CREATE TABLE il_copy AS SELECT * FROM il_child;
UPDATE il_child SET extra = 8 WHERE id = 1;
TRUNCATE il_t;
SELECT count(*), sum(extra) FROM il_child;
COMMIT;
ANALYZE il_child;
RESET concord.max_read_set;
-- what the transaction has made itself is read as often as one likes
BEGIN;
CREATE TABLE il_own AS SELECT i, repeat('x', 100) AS v FROM generate_series(1, 1000) i;
CREATE UNIQUE INDEX ON il_own (i);
SELECT count(*), min(i), max(length(v)) FROM il_own;
SELECT i FROM il_own WHERE i = 7;
INSERT INTO il_t VALUES (6);
COMMIT;
BEGIN;
ALTER TABLE il_own ALTER COLUMN i TYPE bigint;
UPDATE il_own SET i = i + 1000;
SELECT count(*), min(i), pg_typeof(min(i)) FROM il_own;
INSERT INTO il_own VALUES (1001, '');
COMMIT;
BEGIN;
TRUNCATE il_own;
COPY il_own FROM stdin;
1	a
2	b
\.
SELECT * FROM il_own ORDER BY i;
UPDATE il_own SET v = 'c' WHERE i = 2;
COMMIT;
SELECT * FROM il_own ORDER BY i;
DROP TABLE il_own;
RESET default_transaction_isolation;
DROP TABLE il_t, il_copy, il_child, il_parent;
