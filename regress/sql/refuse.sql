-- What is refused, and how it says so.
CREATE TABLE re_t (id int PRIMARY KEY, doc jsonb, p point, r int4range, v tsvector);
CREATE INDEX ON re_t USING gin (doc);
CREATE INDEX ON re_t USING gist (p);
CREATE INDEX ON re_t USING brin (id);
CREATE INDEX ON re_t USING spgist (p);
CREATE INDEX ON re_t (v);
CREATE UNLOGGED TABLE re_u (a int) USING concord;
ALTER TABLE re_t SET UNLOGGED;
CREATE PUBLICATION re_pub FOR TABLE re_t;
BEGIN;
INSERT INTO re_t VALUES (1);
PREPARE TRANSACTION 'x';
ROLLBACK;
SELECT count(*) FROM re_t;
DROP TABLE re_t;
