-- concord.orphans and concord.sweep(): a sound database has none, whoever has tables open.
CREATE TABLE sw_t (a int PRIMARY KEY, b text);
INSERT INTO sw_t SELECT g, 'b' || g FROM generate_series(1, 1000) g;
SELECT * FROM concord.orphans;
SELECT concord.sweep();
-- the caller's own, not committed and without any mark in the catalogs that others see
BEGIN;
CREATE TABLE sw_new AS SELECT g AS a FROM generate_series(1, 1000) g;
CREATE INDEX ON sw_new (a);
SET LOCAL client_min_messages = warning;
SELECT concord.sweep();
SAVEPOINT s;
TRUNCATE sw_t;
INSERT INTO sw_t VALUES (1, 'one');
SELECT concord.sweep();
ROLLBACK TO s;
SELECT concord.sweep();
COMMIT;
SELECT count(*) FROM sw_new;
SELECT count(*) FROM sw_t;
SET enable_seqscan = off;
SELECT count(*) FROM sw_new WHERE a > 0;
SELECT count(*) FROM sw_t WHERE a > 0;
RESET enable_seqscan;
-- in a transaction that reads at an older snapshot, and in one that is read only
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SELECT count(*) FROM sw_t;
SELECT concord.sweep();
SELECT count(*) FROM concord.orphans;
COMMIT;
-- for superusers only
CREATE ROLE regress_sweeper;
SET ROLE regress_sweeper;
SELECT concord.sweep();
SELECT * FROM concord.orphans();
SELECT * FROM concord.orphans;
RESET ROLE;
GRANT EXECUTE ON FUNCTION concord.sweep() TO regress_sweeper;
SET ROLE regress_sweeper;
SELECT concord.sweep();
RESET ROLE;
REVOKE EXECUTE ON FUNCTION concord.sweep() FROM regress_sweeper;
DROP ROLE regress_sweeper;
-- a template with Concord tables
SELECT current_database() AS this \gset
\set VERBOSITY terse
CREATE DATABASE sw_copy TEMPLATE :"this";
CREATE DATABASE sw_copy TEMPLATE sw_nothing;
\set VERBOSITY default
-- its interval
SHOW concord.sweep_interval;
SET concord.sweep_interval = 5;
DROP TABLE sw_t, sw_new;
