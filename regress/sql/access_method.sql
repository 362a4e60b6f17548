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
CREATE INDEX am_t_hash ON am_t USING hash (id);
ALTER TABLE am_t SET ACCESS METHOD concord;
DROP INDEX am_t_hash;
CREATE INDEX am_t_array ON am_t ((ARRAY[to_tsvector('simple', id::text)]));
ALTER TABLE am_t SET ACCESS METHOD concord;
DROP INDEX am_t_array;
SELECT * FROM am_methods;
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
