-- What Postgres' statistics, the catalog and EXPLAIN tell about Concord tables.
CREATE TABLE ts_t (id int PRIMARY KEY, v int, w text);
CREATE INDEX ts_v ON ts_t (v);
SELECT pg_stat_force_next_flush();
SELECT pg_stat_reset_single_table_counters('ts_t'::regclass), pg_stat_reset_single_table_counters('ts_t_pkey'::regclass);
INSERT INTO ts_t SELECT g, g % 10, 'w' || g FROM generate_series(1, 100) g;
UPDATE ts_t SET v = v + 1 WHERE id <= 30;
UPDATE ts_t SET w = 'same key' WHERE id <= 10;
DELETE FROM ts_t WHERE id > 95;
BEGIN;
INSERT INTO ts_t VALUES (1000, 1, 'gone');
ROLLBACK;
SELECT count(*) FROM ts_t;
SET enable_seqscan = off; SET enable_bitmapscan = off;
SELECT w FROM ts_t WHERE id = 50;
SELECT count(w) FROM ts_t WHERE v = 5;
RESET ALL;
SELECT pg_stat_force_next_flush();
SELECT n_tup_ins, n_tup_upd, n_tup_del, n_tup_hot_upd, n_live_tup, n_dead_tup, n_mod_since_analyze, n_ins_since_vacuum FROM pg_stat_user_tables WHERE relname = 'ts_t';
SELECT seq_scan > 0 AS seq_scan, seq_tup_read >= 95 AS seq_tup_read, idx_scan >= 2 AS idx_scan, idx_tup_fetch >= 10 AS idx_tup_fetch FROM pg_stat_user_tables WHERE relname = 'ts_t';
SELECT indexrelname, idx_scan, idx_tup_read, idx_tup_fetch FROM pg_stat_user_indexes WHERE relname = 'ts_t' AND indexrelname = 'ts_v';
SELECT heap_blks_read, idx_blks_read FROM pg_statio_user_tables WHERE relname = 'ts_t';
-- VACUUM and ANALYZE
VACUUM (FREEZE, DISABLE_PAGE_SKIPPING, INDEX_CLEANUP on, PARALLEL 2, TRUNCATE, PROCESS_TOAST off, SKIP_LOCKED) ts_t;
SELECT pg_stat_force_next_flush();
SELECT n_live_tup, n_dead_tup, n_ins_since_vacuum, vacuum_count, last_vacuum IS NOT NULL AS vacuumed, n_mod_since_analyze > 0 AS modified, analyze_count FROM pg_stat_user_tables WHERE relname = 'ts_t';
ANALYZE ts_t (v);
VACUUM (ANALYZE) ts_t;
SELECT pg_stat_force_next_flush();
SELECT n_live_tup, n_dead_tup, n_mod_since_analyze, analyze_count, last_analyze IS NOT NULL AS analyzed FROM pg_stat_user_tables WHERE relname = 'ts_t';
SELECT relname, reltuples, relpages > 0 AS pages FROM pg_class WHERE relname IN ('ts_t', 'ts_v', 'ts_t_pkey') ORDER BY 1;
SELECT attname, null_frac, n_distinct FROM pg_stats WHERE tablename = 'ts_t' AND attname <> 'w' ORDER BY 1;
CREATE STATISTICS ts_s ON v, w, (v + id) FROM ts_t;
ANALYZE ts_t;
SELECT stxdndistinct IS NOT NULL AS ndistinct, stxdmcv IS NOT NULL AS mcv, stxdexpr IS NOT NULL AS expr FROM pg_statistic_ext_data d JOIN pg_statistic_ext e ON e.oid = d.stxoid WHERE stxname = 'ts_s';
-- the age of a table: made, frozen, truncated, rewritten
SELECT age(relfrozenxid) < 1000000 AS young, mxid_age(relminmxid) < 1000000 AS young_too FROM pg_class WHERE relname = 'ts_t';
TRUNCATE ts_t;
INSERT INTO ts_t SELECT g, g % 10, 'w' || g FROM generate_series(1, 100) g;
VACUUM (FULL, FREEZE) ts_t;
SELECT age(relfrozenxid) < 1000000 AS young, mxid_age(relminmxid) < 1000000 AS young_too FROM pg_class WHERE relname = 'ts_t';
CLUSTER ts_t USING ts_v;
ALTER TABLE ts_t ALTER COLUMN v TYPE bigint;
SELECT age(relfrozenxid) < 1000000 AS young, mxid_age(relminmxid) < 1000000 AS young_too FROM pg_class WHERE relname = 'ts_t';
SELECT count(*) FROM pg_class WHERE relkind IN ('r', 'm') AND age(relfrozenxid) = 2147483647;
-- EXPLAIN: rows, loops, heap fetches (none: an index entry is enough), writes and triggers
VACUUM ANALYZE ts_t;
EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) SELECT v FROM ts_t ORDER BY v LIMIT 5;
EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) SELECT w FROM ts_t WHERE w = 'w7';
EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) UPDATE ts_t SET w = 'new' WHERE id = 7;
SET enable_seqscan = off;
EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, VERBOSE) SELECT id FROM ts_t WHERE id IN (SELECT v FROM ts_t WHERE v = 3);
EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) WITH x AS (DELETE FROM ts_t WHERE id = 8 RETURNING id) SELECT (SELECT count(*) FROM ts_t WHERE id < 50) FROM x;
DO $$
DECLARE
  plan json;
BEGIN
  EXECUTE 'EXPLAIN (ANALYZE, BUFFERS, WAL, VERBOSE, FORMAT JSON) SELECT id FROM ts_t WHERE id < 50' INTO plan;
  RAISE NOTICE '% % heap fetches %, blocks read %', plan -> 0 -> 'Plan' ->> 'Node Type', plan -> 0 -> 'Plan' ->> 'Actual Rows',
    plan -> 0 -> 'Plan' ->> 'Heap Fetches', plan -> 0 -> 'Plan' ->> 'Shared Read Blocks';
END $$;
RESET enable_seqscan;
SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; SET force_parallel_mode = on;
EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) SELECT count(*) FROM ts_t WHERE w LIKE 'w%';
RESET ALL;
DROP TABLE ts_t;
