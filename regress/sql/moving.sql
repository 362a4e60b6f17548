-- Tables move between heap and Concord: with other changes of the same statement, in the transaction that made them, with foreign
-- keys and partitions.
CREATE VIEW mo_kinds AS
  SELECT c.relname, a.amname FROM pg_class c JOIN pg_am a ON a.oid = c.relam WHERE c.relname LIKE 'mo\_%' ORDER BY 1;
CREATE TABLE mo_t (id int PRIMARY KEY, v text, w int) USING heap;
INSERT INTO mo_t SELECT g, 'v' || g, g FROM generate_series(1, 100) g;
-- indexes that the same statement makes, keeps, changes and drops
ALTER TABLE mo_t SET ACCESS METHOD concord, ALTER COLUMN v TYPE varchar(50), ADD COLUMN n int DEFAULT 7, ADD UNIQUE (w), ADD CHECK (w > 0),
  ALTER COLUMN w TYPE bigint, ALTER COLUMN id TYPE bigint;
SELECT * FROM mo_kinds;
SET enable_seqscan = off;
SELECT * FROM mo_t WHERE w = 50;
INSERT INTO mo_t VALUES (500, 'dup', 50);
SELECT * FROM concord.check('mo_t');
CREATE UNIQUE INDEX mo_i ON mo_t (n, w);
ALTER TABLE mo_t SET ACCESS METHOD heap, ALTER COLUMN id TYPE int, DROP CONSTRAINT mo_t_w_key, ADD CONSTRAINT mo_ui UNIQUE USING INDEX mo_i,
  ADD EXCLUDE USING btree (v WITH =);
SELECT * FROM mo_kinds;
SELECT id, v, w FROM mo_t WHERE n = 7 AND w = 50;
SELECT id FROM mo_t WHERE v = 'v50';
INSERT INTO mo_t VALUES (500, 'v50', 500);
INSERT INTO mo_t VALUES (500, 'v500', 50);
-- in the transaction that made the table or the indexes
BEGIN;
CREATE TABLE mo_n (id int PRIMARY KEY, k int UNIQUE) USING heap;
CREATE INDEX mo_nk ON mo_n (k DESC, id);
ALTER TABLE mo_n SET ACCESS METHOD concord;
INSERT INTO mo_n SELECT g, g FROM generate_series(1, 20) g;
SELECT * FROM mo_n WHERE k = 7;
INSERT INTO mo_n VALUES (21, 20) ON CONFLICT (k) DO UPDATE SET id = 21;
SAVEPOINT a;
INSERT INTO mo_n VALUES (23, 7);
ROLLBACK TO a;
ALTER TABLE mo_n SET ACCESS METHOD heap;
ROLLBACK TO a;
RELEASE a;
ALTER TABLE mo_n SET ACCESS METHOD heap;
SELECT * FROM mo_n WHERE k > 18 ORDER BY k;
ALTER TABLE mo_n SET ACCESS METHOD concord;
SELECT * FROM mo_n WHERE k > 18 ORDER BY k;
COMMIT;
SELECT * FROM mo_n WHERE k > 18 ORDER BY k;
INSERT INTO mo_n VALUES (24, 7);
SELECT * FROM concord.check('mo_n');
-- rolled back to a savepoint that was before the indexes, and whole
BEGIN;
SAVEPOINT s;
CREATE INDEX mo_nk2 ON mo_n (k);
REINDEX TABLE mo_n;
ALTER TABLE mo_n SET ACCESS METHOD heap;
SELECT * FROM mo_n WHERE k = 19;
ROLLBACK TO s;
SELECT * FROM mo_n WHERE k = 19;
UPDATE mo_n SET k = -k WHERE k = 19;
COMMIT;
BEGIN;
REINDEX TABLE mo_n;
ALTER TABLE mo_n SET ACCESS METHOD heap;
SELECT * FROM mo_n WHERE k = 18;
ROLLBACK;
SELECT * FROM mo_n WHERE k < 2 ORDER BY k;
INSERT INTO mo_n VALUES (24, 7);
-- what is not logged
CREATE UNLOGGED TABLE mo_u (id int PRIMARY KEY) USING heap;
INSERT INTO mo_u VALUES (1);
ALTER TABLE mo_u SET ACCESS METHOD concord;
ALTER TABLE mo_u SET LOGGED, SET ACCESS METHOD concord;
ALTER TABLE mo_u SET UNLOGGED;
SELECT * FROM mo_u WHERE id = 1;
ALTER TABLE mo_u SET UNLOGGED, SET ACCESS METHOD heap;
SELECT * FROM mo_u WHERE id = 1;
-- foreign keys: both tables in one transaction; none that another change of the statement brings
CREATE TABLE mo_p (id int PRIMARY KEY) USING heap;
CREATE TABLE mo_c (id int PRIMARY KEY, p int REFERENCES mo_p ON DELETE CASCADE) USING heap;
INSERT INTO mo_p SELECT generate_series(1, 10);
INSERT INTO mo_c SELECT g, g FROM generate_series(1, 10) g;
ALTER TABLE mo_p SET ACCESS METHOD concord;
BEGIN;
SET LOCAL concord.allow_mixed_writes = on;
ALTER TABLE mo_p SET ACCESS METHOD concord;
ALTER TABLE mo_c SET ACCESS METHOD concord;
COMMIT;
INSERT INTO mo_c VALUES (11, 11);
DELETE FROM mo_p WHERE id = 5;
SELECT count(*), count(*) FILTER (WHERE p = 5) AS gone FROM mo_c;
CREATE TABLE mo_h (id int PRIMARY KEY, p int) USING heap;
ALTER TABLE mo_h SET ACCESS METHOD concord, ADD FOREIGN KEY (p) REFERENCES mo_h, ADD COLUMN q int REFERENCES mo_h;
CREATE TABLE mo_h2 (p int) USING heap;
ALTER TABLE mo_h2 ADD FOREIGN KEY (p) REFERENCES mo_h;
CREATE TABLE mo_h3 (id int PRIMARY KEY) USING heap;
ALTER TABLE mo_h2 SET ACCESS METHOD concord, ADD FOREIGN KEY (p) REFERENCES mo_h3;
ALTER TABLE mo_h2 ADD EXCLUDE USING hash (p WITH =), SET ACCESS METHOD concord;
-- partitions of both kinds: read together, written one kind at a time
CREATE TABLE mo_part (id int, k int) PARTITION BY RANGE (id);
CREATE TABLE mo_part1 PARTITION OF mo_part FOR VALUES FROM (0) TO (10) USING heap;
CREATE TABLE mo_part2 PARTITION OF mo_part FOR VALUES FROM (10) TO (20) USING concord;
CREATE INDEX mo_part_k ON mo_part (k);
CREATE UNIQUE INDEX mo_part_id ON mo_part (id);
INSERT INTO mo_part SELECT g, g FROM generate_series(0, 9) g;
INSERT INTO mo_part SELECT g, g FROM generate_series(10, 19) g;
SELECT * FROM mo_part WHERE k IN (5, 15) ORDER BY k;
SELECT count(*), sum(k) FROM mo_part;
SELECT k FROM mo_part WHERE id > 7 ORDER BY k LIMIT 4;
INSERT INTO mo_part VALUES (5, 0) ON CONFLICT (id) DO UPDATE SET k = -1;
INSERT INTO mo_part VALUES (15, 0) ON CONFLICT (id) DO UPDATE SET k = -2;
UPDATE mo_part SET k = 0 WHERE id = 15;
UPDATE mo_part SET k = 0;
UPDATE mo_part SET id = 11 WHERE id = 5;
ALTER TABLE mo_part1 SET ACCESS METHOD concord;
DELETE FROM mo_part WHERE id = 15;
UPDATE mo_part SET id = 15, k = 15 WHERE id = 5;
SELECT tableoid::regclass, * FROM mo_part WHERE k = 15;
SELECT * FROM mo_kinds;
RESET enable_seqscan;
DROP VIEW mo_kinds;
DROP TABLE mo_t, mo_n, mo_u, mo_c, mo_p, mo_h2, mo_h, mo_h3, mo_part;
