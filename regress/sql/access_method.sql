-- ALTER TABLE ... SET ACCESS METHOD with indexes, both ways, and what it refuses.
CREATE VIEW am_methods AS
  SELECT c.relname, a.amname FROM pg_class c JOIN pg_am a ON a.oid = c.relam WHERE c.relname LIKE 'am\_t%' ORDER BY 1;
CREATE TABLE am_t (id int PRIMARY KEY, v text COLLATE "C", w text, CHECK (id > 0)) USING heap;
ALTER TABLE am_t ALTER COLUMN w SET STORAGE EXTERNAL;
CREATE INDEX am_t_v ON am_t (v DESC) INCLUDE (id) WHERE id > 1;
CREATE UNIQUE INDEX am_t_lower ON am_t (lower(v));
INSERT INTO am_t SELECT g, 'v' || g, repeat(g::text, 5000) FROM generate_series(1, 100) g;
ALTER TABLE am_t SET ACCESS METHOD concord;
SELECT * FROM am_methods;
SELECT relname, reltoastrelid <> 0 AS toast FROM pg_class WHERE relname = 'am_t';
SET enable_seqscan = off;
SELECT id, v, length(w) FROM am_t WHERE v >= 'v98' AND id > 1 ORDER BY v DESC;
SELECT id FROM am_t WHERE lower(v) = 'v50';
INSERT INTO am_t VALUES (101, 'V50', '');
INSERT INTO am_t VALUES (1, 'x', '');
UPDATE am_t SET v = 'new' WHERE id = 1;
ALTER TABLE am_t SET ACCESS METHOD heap;
SELECT * FROM am_methods;
-- wide rows need a TOAST table
SELECT relname, reltoastrelid <> 0 AS toast FROM pg_class WHERE relname = 'am_t';
INSERT INTO am_t VALUES (200, 'wide', repeat('0123456789', 10000));
SELECT id, v, length(w), md5(w) = md5(repeat(id::text, 5000)) AS same FROM am_t WHERE v >= 'v98' AND id > 1 ORDER BY v DESC;
SELECT id FROM am_t WHERE lower(v) = 'new';
INSERT INTO am_t VALUES (1, 'x', '');
SELECT count(*) FROM pg_depend d JOIN pg_am a ON a.oid = d.refobjid AND d.refclassid = 'pg_am'::regclass
  WHERE d.classid = 'pg_class'::regclass AND d.objid::regclass::text LIKE 'am\_t%' AND amname LIKE 'concord%';
REINDEX TABLE am_t;
VACUUM FULL am_t;
SELECT count(*), max(length(w)) FROM am_t;
-- rolled back, whole and to a savepoint
BEGIN;
ALTER TABLE am_t SET ACCESS METHOD concord;
SELECT id FROM am_t WHERE lower(v) = 'v50';
ROLLBACK;
SELECT id FROM am_t WHERE lower(v) = 'v50';
BEGIN;
SAVEPOINT s;
ALTER TABLE am_t SET ACCESS METHOD concord;
ROLLBACK TO s;
SELECT id FROM am_t WHERE lower(v) = 'v50';
INSERT INTO am_t VALUES (102, 'after', '');
COMMIT;
SELECT id FROM am_t WHERE lower(v) = 'after';
SELECT * FROM am_methods;
-- refused
BEGIN;
CREATE INDEX am_t_id ON am_t (id, v);
SAVEPOINT s;
ALTER TABLE am_t SET ACCESS METHOD concord;
ROLLBACK;
CREATE INDEX am_t_gin ON am_t USING gin (to_tsvector('simple', v));
ALTER TABLE am_t SET ACCESS METHOD concord;
DROP INDEX am_t_gin;
CREATE INDEX am_t_array ON am_t ((ARRAY[to_tsvector('simple', id::text)]));
ALTER TABLE am_t SET ACCESS METHOD concord;
DROP INDEX am_t_array;
SELECT * FROM am_methods;
-- hash indexes become ordered ones, and btree's on the way back
CREATE TABLE am_thash (id int PRIMARY KEY, t text COLLATE "en-x-icu", n name, x xid, b jsonb, k int DEFAULT 1,
  CONSTRAINT am_thash_ex EXCLUDE USING hash (t WITH =), CONSTRAINT am_thash_def EXCLUDE USING hash (n WITH =) DEFERRABLE INITIALLY DEFERRED)
  USING heap;
CREATE INDEX am_thash_t ON am_thash USING hash (t text_pattern_ops) WITH (fillfactor = 60);
CREATE INDEX am_thash_e ON am_thash USING hash ((b -> 'k')) WHERE id > 1;
CREATE OPERATOR CLASS am_class FOR TYPE int USING hash AS OPERATOR 1 =, FUNCTION 1 hashint4(int);
CREATE INDEX am_thash_own ON am_thash USING hash (k am_class);
CREATE VIEW am_hash AS
  SELECT c.relname, m.amname, o.opcname, om.amname AS of, a.atttypid::regtype AS type,
    (SELECT count(*) FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = c.oid AND refclassid = 'pg_opclass'::regclass) AS depends
  FROM pg_index i JOIN pg_class c ON c.oid = indexrelid JOIN pg_am m ON m.oid = c.relam JOIN pg_opclass o ON o.oid = indclass[0]
    JOIN pg_am om ON om.oid = opcmethod JOIN pg_attribute a ON attrelid = indexrelid
  WHERE indrelid = 'am_thash'::regclass ORDER BY 1;
INSERT INTO am_thash SELECT i, 't' || i, 'n' || i, '0', jsonb_build_object('k', i) FROM generate_series(1, 100) i;
SELECT * FROM am_hash;
CREATE INDEX am_thash_x ON am_thash USING hash (x);
ALTER TABLE am_thash SET ACCESS METHOD concord;
DROP INDEX am_thash_x;
BEGIN;
ALTER TABLE am_thash SET ACCESS METHOD concord;
SELECT id FROM am_thash WHERE t = 't7';
INSERT INTO am_thash VALUES (101, 't7');
ROLLBACK;
SELECT id FROM am_thash WHERE t = 't7';
INSERT INTO am_thash VALUES (101, 't7');
BEGIN;
SAVEPOINT s;
ALTER TABLE am_thash SET ACCESS METHOD concord;
SELECT id FROM am_thash WHERE n = 'n7';
ROLLBACK TO s;
SELECT id FROM am_thash WHERE n = 'n7';
COMMIT;
SELECT count(*) FROM am_hash WHERE amname = 'hash';
ALTER TABLE am_thash ALTER id TYPE bigint, ADD CONSTRAINT am_thash_new EXCLUDE USING hash (b WITH =), SET ACCESS METHOD concord;
SELECT * FROM am_hash;
EXPLAIN (COSTS OFF) SELECT id FROM am_thash WHERE b -> 'k' = '7' AND id > 1;
SELECT id FROM am_thash WHERE b -> 'k' = '7' AND id > 1;
SELECT id FROM am_thash WHERE t = 't8';
SELECT id FROM am_thash WHERE n = 'n9';
INSERT INTO am_thash VALUES (101, 't7');
INSERT INTO am_thash VALUES (101, 't101', 'n8');
INSERT INTO am_thash VALUES (101, 't101', 'n101', NULL, '{"k": 8.0}');
SELECT * FROM concord.check('am_thash');
SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname IN ('am_thash_ex', 'am_thash_new') ORDER BY 1;
REINDEX TABLE am_thash;
VACUUM FULL am_thash;
ALTER TABLE am_thash SET ACCESS METHOD heap;
SELECT * FROM am_hash;
SELECT id FROM am_thash WHERE t = 't8';
INSERT INTO am_thash VALUES (101, 't7');
DROP OPERATOR FAMILY am_class USING hash;
-- in the transaction that has made them, and below a partitioned one
BEGIN;
CREATE INDEX am_thash_id ON am_thash USING hash (id);
ALTER TABLE am_thash ADD CONSTRAINT am_thash_late EXCLUDE USING hash (b WITH =) DEFERRABLE;
ALTER TABLE am_thash SET ACCESS METHOD concord;
SELECT id FROM am_thash WHERE id = 7;
SELECT * FROM am_hash WHERE relname IN ('am_thash_id', 'am_thash_late');
INSERT INTO am_thash VALUES (101, 't101', 'n101', NULL, '{"k": 9}');
ROLLBACK;
CREATE TABLE am_tp (id int, v int) PARTITION BY LIST (id);
CREATE TABLE am_tp1 PARTITION OF am_tp FOR VALUES IN (1) USING heap;
CREATE INDEX am_tp_v ON am_tp USING hash (v);
INSERT INTO am_tp VALUES (1, 1);
ALTER TABLE am_tp1 SET ACCESS METHOD concord;
SELECT * FROM am_tp WHERE v = 1;
SELECT * FROM am_methods WHERE relname LIKE 'am\_tp%';
DROP VIEW am_hash;
DROP TABLE am_thash, am_tp;
-- a materialized view
CREATE MATERIALIZED VIEW am_tv AS SELECT id, w FROM am_t WHERE id < 4;
CREATE UNIQUE INDEX am_tv_id ON am_tv (id);
ALTER MATERIALIZED VIEW am_tv SET ACCESS METHOD heap;
SELECT * FROM am_methods WHERE relname LIKE 'am_tv%';
ALTER MATERIALIZED VIEW am_tv SET ACCESS METHOD concord;
SELECT * FROM am_methods WHERE relname LIKE 'am_tv%';
-- REFRESH CONCURRENTLY goes through a temporary table, whose wide rows need a TOAST table too
UPDATE am_t SET w = (SELECT string_agg(md5(g::text), '') FROM generate_series(1, 5000) g) WHERE id = 3;
DELETE FROM am_t WHERE id = 2;
REFRESH MATERIALIZED VIEW CONCURRENTLY am_tv;
SELECT id, length(w) FROM am_tv ORDER BY id;
-- a rewrite gives a table a transaction id to be frozen before; VACUUM must move it on, or it would hold the database back
CREATE TABLE am_freeze (a int, b int);
ALTER TABLE am_freeze ALTER COLUMN b TYPE bigint;
SELECT relfrozenxid AS before FROM pg_class WHERE relname = 'am_freeze' \gset
SELECT txid_current() > 0 AS used;
-- nobody else may hold it back
DO $$
BEGIN
  FOR i IN 1..600 LOOP
    EXIT WHEN NOT EXISTS (
      SELECT FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL));
    COMMIT;
    PERFORM pg_sleep(0.05);
    COMMIT;
  END LOOP;
END $$;
VACUUM am_freeze;
SELECT relfrozenxid <> :'before' AS moved_on FROM pg_class WHERE relname = 'am_freeze';
DROP VIEW am_methods;
DROP MATERIALIZED VIEW am_tv;
DROP TABLE am_t, am_freeze;
