-- What CREATE EXTENSION brings, and that tables use it without being told.
SELECT extname, extversion FROM pg_extension WHERE extname = 'concord';
SELECT amname, amtype FROM pg_am WHERE amname LIKE 'concord%' ORDER BY 1;
SHOW default_table_access_method;
CREATE TABLE ext_t (id int PRIMARY KEY, v text UNIQUE);
SELECT c.relname, a.amname FROM pg_class c JOIN pg_am a ON a.oid = c.relam
  WHERE c.relname LIKE 'ext_t%' ORDER BY 1;
-- as Postgres does with any extension that something depends on
DROP EXTENSION concord;
DROP TABLE ext_t;
-- a temporary table is heap
CREATE TEMP TABLE ext_temp (a int);
SELECT a.amname FROM pg_class c JOIN pg_am a ON a.oid = c.relam WHERE c.relname = 'ext_temp';
CREATE TEMP TABLE ext_temp2 AS SELECT 1 AS a;
SELECT a.amname FROM pg_class c JOIN pg_am a ON a.oid = c.relam WHERE c.relname = 'ext_temp2';
SELECT 1 AS a INTO TEMP ext_temp3;
SELECT a.amname FROM pg_class c JOIN pg_am a ON a.oid = c.relam WHERE c.relname = 'ext_temp3';
