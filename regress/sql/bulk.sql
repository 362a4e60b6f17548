-- COPY both ways, multi-insert, CREATE TABLE AS, large transactions.
CREATE TABLE bu_t (id int, v text);
COPY bu_t FROM stdin;
1	one
2	\N
3	three
\.
COPY bu_t TO stdout;
COPY (SELECT id FROM bu_t ORDER BY id DESC) TO stdout;
BEGIN;
TRUNCATE bu_t;
COPY bu_t FROM stdin;
10	ten
11	eleven
\.
SELECT * FROM bu_t;
INSERT INTO bu_t VALUES (12, 'twelve');
UPDATE bu_t SET v = upper(v) WHERE id = 10;
DELETE FROM bu_t WHERE id = 11;
SELECT * FROM bu_t ORDER BY id;
COMMIT;
SELECT * FROM bu_t ORDER BY id;
-- created and loaded in one transaction, with savepoints between
BEGIN;
CREATE TABLE bu_new AS SELECT g AS id, md5(g::text) AS v FROM generate_series(1, 20000) g;
SELECT count(*), min(id), max(id) FROM bu_new;
SAVEPOINT s;
INSERT INTO bu_new SELECT id + 20000, v FROM bu_new;
SELECT count(*) FROM bu_new;
ROLLBACK TO s;
SELECT count(*) FROM bu_new;
ALTER TABLE bu_new ADD PRIMARY KEY (id);
INSERT INTO bu_new VALUES (20000, 'dup');
ROLLBACK;
CREATE TABLE bu_new AS SELECT g AS id, md5(g::text) AS v FROM generate_series(1, 50000) g;
ALTER TABLE bu_new ADD PRIMARY KEY (id);
SELECT count(*), sum(id) FROM bu_new;
SELECT v = md5('777') FROM bu_new WHERE id = 777;
-- a large transaction on a table that others can see
INSERT INTO bu_new SELECT g, repeat('z', 100) FROM generate_series(50001, 100000) g;
SELECT count(*), count(*) FILTER (WHERE v LIKE 'z%') FROM bu_new;
UPDATE bu_new SET v = 'u' WHERE id > 40000;
SELECT count(*) FROM bu_new WHERE v = 'u';
DELETE FROM bu_new WHERE id % 2 = 0;
SELECT count(*), sum(id) FROM bu_new;
CREATE MATERIALIZED VIEW bu_mv AS SELECT id % 10 AS k, count(*) AS n FROM bu_new GROUP BY 1;
SELECT * FROM bu_mv ORDER BY k;
DELETE FROM bu_new WHERE id % 10 = 1;
REFRESH MATERIALIZED VIEW bu_mv;
SELECT * FROM bu_mv ORDER BY k;
CREATE UNIQUE INDEX ON bu_mv (k);
DELETE FROM bu_new WHERE id % 10 = 3;
REFRESH MATERIALIZED VIEW CONCURRENTLY bu_mv;
SELECT * FROM bu_mv ORDER BY k;
SELECT id INTO bu_into FROM bu_new WHERE id < 10;
SELECT * FROM bu_into ORDER BY id;
-- a limit on the write set is an error, not an end
SET concord.max_write_set = '1MB';
INSERT INTO bu_t SELECT g, repeat('q', 1000) FROM generate_series(1, 5000) g;
RESET concord.max_write_set;
SELECT count(*) FROM bu_t;
DROP MATERIALIZED VIEW bu_mv;
DROP TABLE bu_t, bu_new, bu_into;
