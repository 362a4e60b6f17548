-- What is refused, and how it says so.
CREATE TABLE re_t (id int PRIMARY KEY, doc jsonb, p point, r int4range, v tsvector);
CREATE INDEX ON re_t USING gin (doc);
CREATE INDEX ON re_t USING gist (p);
CREATE INDEX ON re_t USING brin (id);
CREATE INDEX ON re_t USING spgist (p);
CREATE INDEX ON re_t (v);
ALTER TABLE re_t ADD EXCLUDE USING gist (r WITH &&);
ALTER TABLE re_t ADD EXCLUDE USING spgist (r WITH &&);
CREATE TABLE re_x (r int4range, EXCLUDE USING gist (r WITH &&));
CREATE TABLE re_x (r int4range, EXCLUDE USING spgist (r WITH &&) DEFERRABLE);
CREATE UNLOGGED TABLE re_u (a int) USING concord;
ALTER TABLE re_t SET UNLOGGED, SET ACCESS METHOD concord;
CREATE PUBLICATION re_pub FOR TABLE re_t;
BEGIN;
INSERT INTO re_t VALUES (1);
PREPARE TRANSACTION 'x';
ROLLBACK;
-- what was made, emptied or dropped
BEGIN;
CREATE TABLE re_new (a int);
PREPARE TRANSACTION 'x';
BEGIN;
CREATE INDEX ON re_t (r);
PREPARE TRANSACTION 'x';
BEGIN;
TRUNCATE re_t;
PREPARE TRANSACTION 'x';
BEGIN;
ALTER TABLE re_t ALTER COLUMN id TYPE bigint;
PREPARE TRANSACTION 'x';
BEGIN;
DROP TABLE re_t;
PREPARE TRANSACTION 'x';
-- also if a savepoint has taken it back
BEGIN;
SAVEPOINT s;
CREATE TABLE re_new (a int);
ROLLBACK TO s;
SELECT count(*) FROM re_t;
PREPARE TRANSACTION 'x';
SELECT count(*) FROM re_t;
DROP TABLE re_t;

-- No Concord table is published: by its name, among others, by its schema, by a parent.
CREATE SCHEMA re_s;
CREATE TABLE re_s.heap (a int) USING heap;
CREATE TABLE re_s.ours (a int);
CREATE TABLE re_p (a int) PARTITION BY RANGE (a);
CREATE TABLE re_p1 PARTITION OF re_p FOR VALUES FROM (0) TO (10);
CREATE PUBLICATION re_pub FOR TABLE re_s.ours;
CREATE PUBLICATION re_pub FOR TABLE re_s.heap, re_s.ours;
CREATE PUBLICATION re_pub FOR TABLE re_p;
CREATE PUBLICATION re_pub FOR TABLE ONLY re_p;
CREATE PUBLICATION re_pub FOR TABLES IN SCHEMA re_s;
SET search_path = re_s;
CREATE PUBLICATION re_pub FOR TABLES IN SCHEMA CURRENT_SCHEMA;
RESET search_path;
CREATE PUBLICATION re_pub FOR TABLE re_s.heap;
ALTER PUBLICATION re_pub ADD TABLE re_s.ours;
ALTER PUBLICATION re_pub ADD TABLE re_p;
ALTER PUBLICATION re_pub ADD TABLE ONLY re_p;
ALTER PUBLICATION re_pub ADD TABLES IN SCHEMA re_s;
ALTER PUBLICATION re_pub SET TABLE re_s.ours;
ALTER PUBLICATION re_pub SET TABLE ONLY re_p;
ALTER PUBLICATION re_pub SET TABLES IN SCHEMA re_s;
-- Partitions are published with a parent, whatever schema they are in.
CREATE SCHEMA re_parents;
CREATE TABLE re_parents.p (a int) PARTITION BY RANGE (a);
CREATE TABLE re_s.elsewhere PARTITION OF re_parents.p FOR VALUES FROM (0) TO (10);
ALTER PUBLICATION re_pub ADD TABLES IN SCHEMA re_parents;
ALTER TABLE re_s.elsewhere SET ACCESS METHOD heap;
ALTER PUBLICATION re_pub ADD TABLES IN SCHEMA re_parents;
ALTER TABLE re_s.elsewhere SET ACCESS METHOD concord;
DROP SCHEMA re_parents CASCADE;
-- Nor does one become published later: as a table that is,
ALTER TABLE re_s.heap SET ACCESS METHOD concord;
ALTER PUBLICATION re_pub DROP TABLE re_s.heap;
ALTER TABLE re_s.heap SET ACCESS METHOD concord;
ALTER TABLE re_s.heap SET ACCESS METHOD heap;
-- as a partition of one,
DROP TABLE re_p1;
CREATE TABLE re_p2 (a int);
ALTER PUBLICATION re_pub ADD TABLE re_p;
CREATE TABLE re_p1 PARTITION OF re_p FOR VALUES FROM (0) TO (10);
ALTER TABLE re_p ATTACH PARTITION re_p2 FOR VALUES FROM (10) TO (20);
CREATE TABLE re_p1 PARTITION OF re_p FOR VALUES FROM (0) TO (10) USING heap;
ALTER TABLE re_p1 SET ACCESS METHOD concord;
CREATE TABLE re_p3 PARTITION OF re_p FOR VALUES FROM (20) TO (30) PARTITION BY RANGE (a);
CREATE TABLE re_p3_1 PARTITION OF re_p3 FOR VALUES FROM (20) TO (25);
CREATE TABLE re_p4 (a int) PARTITION BY RANGE (a);
CREATE TABLE re_p4_1 PARTITION OF re_p4 FOR VALUES FROM (30) TO (35);
ALTER TABLE re_p ATTACH PARTITION re_p4 FOR VALUES FROM (30) TO (40);
-- in a schema that is.
DROP TABLE re_s.ours;
ALTER PUBLICATION re_pub SET TABLES IN SCHEMA re_s;
CREATE TABLE re_s.ours (a int);
CREATE TABLE re_s.ours AS SELECT 1;
CREATE TABLE re_s.other (a int) USING heap;
ALTER TABLE re_s.other SET ACCESS METHOD concord;
ALTER TABLE re_p2 SET SCHEMA re_s;
ALTER TABLE re_p4 SET SCHEMA re_s;
ALTER TABLE re_p1 SET SCHEMA re_s;
CREATE MATERIALIZED VIEW re_s.view AS SELECT 1 AS a;
ALTER MATERIALIZED VIEW re_s.view SET ACCESS METHOD heap;
ALTER MATERIALIZED VIEW re_s.view SET ACCESS METHOD concord;
-- A partition that has come into one all the same (CREATE PUBLICATION looks before it locks) is let go.
ALTER PUBLICATION re_pub SET TABLE re_s.heap;
CREATE TABLE re_p5 (a int) PARTITION BY RANGE (a);
CREATE TABLE re_p5_1 PARTITION OF re_p5 FOR VALUES FROM (0) TO (10);
CREATE TABLE re_p5_2 PARTITION OF re_p5 FOR VALUES FROM (10) TO (20);
INSERT INTO pg_publication_rel (oid, prpubid, prrelid) SELECT 1, oid, 're_p5'::regclass FROM pg_publication WHERE pubname = 're_pub';
SELECT tablename FROM pg_publication_tables WHERE pubname = 're_pub' ORDER BY 1;
ALTER TABLE re_p5 DETACH PARTITION re_p5_1;
ALTER TABLE re_p5 DETACH PARTITION re_p5_2 CONCURRENTLY;
ALTER TABLE re_p5 ATTACH PARTITION re_p5_1 FOR VALUES FROM (0) TO (10);
DELETE FROM pg_publication_rel WHERE oid = 1;
DROP TABLE re_p5, re_p5_1, re_p5_2;
-- What inherits is published by its own name, and what is no permanent table not at all.
ALTER PUBLICATION re_pub SET TABLE re_s.heap;
CREATE TABLE re_child () INHERITS (re_s.heap);
CREATE UNLOGGED TABLE re_s.unlogged (a int);
-- FOR ALL TABLES names none: a new one's changes are missing, with a warning; one whose changes were published is refused.
DROP PUBLICATION re_pub;
DROP SCHEMA re_s CASCADE;
DROP TABLE re_p, re_p2, re_p4;
\set regress_db :DBNAME
CREATE DATABASE re_all;
\c re_all
CREATE EXTENSION concord;
CREATE TABLE heap (a int) USING heap;
CREATE TABLE ours (a int);
CREATE PUBLICATION re_all FOR ALL TABLES;
DROP TABLE ours;
CREATE PUBLICATION re_all FOR ALL TABLES;
CREATE TABLE ours (a int);
ALTER TABLE heap SET ACCESS METHOD concord;
CREATE MATERIALIZED VIEW view USING heap AS SELECT 1 AS a;
ALTER MATERIALIZED VIEW view SET ACCESS METHOD concord;
ALTER TABLE ours SET ACCESS METHOD heap;
CREATE TEMP TABLE temporary (a int);
CREATE UNLOGGED TABLE unlogged (a int);
\c :regress_db
DROP DATABASE re_all;
