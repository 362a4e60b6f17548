-- pg_relation_size and its kin are true of Concord tables, wherever they are called.
CREATE TABLE sz_t (id int PRIMARY KEY, v text);
CREATE TABLE sz_h (id int PRIMARY KEY, v text) USING heap;
SELECT pg_relation_size('sz_t'), pg_table_size('sz_t'), pg_indexes_size('sz_t'), pg_total_relation_size('sz_t');
INSERT INTO sz_t SELECT g, repeat('x', 100) FROM generate_series(1, 10000) g;
INSERT INTO sz_h SELECT * FROM sz_t;
CREATE INDEX sz_v ON sz_t (v, id);
SELECT pg_relation_size('sz_t') = concord.relation_size('sz_t') AS "table", pg_table_size('sz_t') = concord.relation_size('sz_t') AS table_too,
  pg_indexes_size('sz_t') = concord.relation_size('sz_t_pkey') + concord.relation_size('sz_v') AS indexes,
  pg_total_relation_size('sz_t') = pg_table_size('sz_t') + pg_indexes_size('sz_t') AS total,
  pg_relation_size('sz_v') = concord.relation_size('sz_v') AS index, pg_total_relation_size('sz_v') = pg_table_size('sz_v') AS index_too,
  pg_indexes_size('sz_v') AS none;
SELECT pg_table_size('sz_t') BETWEEN pg_table_size('sz_h') / 2 AND pg_table_size('sz_h') * 2 AS like_heap;
SELECT pg_relation_size('sz_t', 'main') = pg_relation_size('sz_t') AS main, pg_relation_size('sz_t', 'fsm'), pg_relation_size('sz_t', 'vm');
SELECT pg_relation_size('sz_t', 'nofork');
SELECT pg_relation_size(0), pg_table_size(0), pg_indexes_size(0), pg_total_relation_size(0), pg_total_relation_size(NULL);
-- views, functions of SQL that are inlined and not, PL/pgSQL, procedures' arguments, prepared statements, checks, other relations
SELECT pg_total_relation_size('sz_t') AS total, pg_relation_size('sz_t') AS main \gset
CREATE VIEW sz_view AS SELECT pg_total_relation_size('sz_t') AS total;
SELECT pg_get_viewdef('sz_view');
SELECT total = :total FROM sz_view;
CREATE FUNCTION sz_inlined(regclass) RETURNS bigint LANGUAGE sql AS 'SELECT pg_total_relation_size($1)';
CREATE FUNCTION sz_atomic(regclass) RETURNS bigint RETURN pg_relation_size($1);
CREATE FUNCTION sz_set(regclass) RETURNS TABLE (r regclass, size bigint) LANGUAGE sql AS
  'SELECT indexrelid::regclass, pg_relation_size(indexrelid) FROM pg_index WHERE indrelid = $1';
CREATE FUNCTION sz_plpgsql(r regclass) RETURNS bigint LANGUAGE plpgsql AS 'BEGIN RETURN pg_total_relation_size(r); END';
SELECT sz_inlined('sz_t') = :total, sz_atomic('sz_t') = :main, sz_plpgsql('sz_t') = :total, (SELECT sum(size) FROM sz_set('sz_t')) = :total - :main;
CREATE PROCEDURE sz_proc(size bigint, should_be bigint) LANGUAGE plpgsql AS 'BEGIN RAISE NOTICE ''%'', size = should_be; END';
CALL sz_proc(pg_total_relation_size('sz_t'), :total);
PREPARE sz_query (regclass) AS SELECT pg_total_relation_size($1);
EXECUTE sz_query ('sz_t') \gset again_
SELECT :again_pg_total_relation_size = :total;
SET plan_cache_mode = force_generic_plan;
EXECUTE sz_query ('sz_t') \gset again_
SELECT :again_pg_total_relation_size = :total;
RESET plan_cache_mode;
CREATE TABLE sz_check (a regclass CHECK (pg_total_relation_size(a) > 100000), b bigint DEFAULT pg_total_relation_size('sz_t'));
INSERT INTO sz_check VALUES ('sz_t') RETURNING b = :total;
\set VERBOSITY terse
INSERT INTO sz_check VALUES ('sz_check');
\set VERBOSITY default
SELECT pg_relation_size('pg_class') > 0 AS catalog, pg_total_relation_size('sz_view') AS view, pg_table_size('sz_h') % 8192 AS heap;
CREATE MATERIALIZED VIEW sz_mv AS SELECT * FROM sz_t;
CREATE TABLE sz_p (id int) PARTITION BY RANGE (id);
CREATE TABLE sz_p1 PARTITION OF sz_p DEFAULT;
INSERT INTO sz_p VALUES (1);
SELECT pg_relation_size('sz_mv') = :main AS matview, pg_total_relation_size('sz_p') AS root,
  (SELECT sum(pg_relation_size(relid)) > 0 FROM pg_partition_tree('sz_p')) AS leaves;
SET force_parallel_mode = on;
SELECT pg_total_relation_size('sz_t') = :total;
RESET force_parallel_mode;
-- what is stored and shown
EXPLAIN (VERBOSE, COSTS OFF) SELECT pg_total_relation_size('sz_t'), pg_relation_size('sz_t');
-- as many bytes go as rows
DELETE FROM sz_t WHERE id > 5000;
SELECT pg_relation_size('sz_t') BETWEEN :main * 49 / 100 AND :main * 51 / 100 AS half;
TRUNCATE sz_t;
SELECT pg_total_relation_size('sz_t');
-- a transaction's own rows count for itself
BEGIN;
CREATE TABLE sz_own (id int PRIMARY KEY, v text);
INSERT INTO sz_own SELECT i, repeat('x', 100) FROM generate_series(1, 1000) i;
SELECT pg_relation_size('sz_own') BETWEEN 140000 AND 170000 AS rows, pg_indexes_size('sz_own') BETWEEN 35000 AND 50000 AS entries;
ROLLBACK;
DROP TABLE sz_t, sz_h, sz_check, sz_p CASCADE;
DROP FUNCTION sz_inlined(regclass), sz_atomic(regclass), sz_set(regclass), sz_plpgsql(regclass);
DROP PROCEDURE sz_proc(bigint, bigint);
