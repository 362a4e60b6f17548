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
-- operator classes are validated as btree's are: those that it brings, and one of a user's own
SELECT count(*) > 40 AS classes, count(*) FILTER (WHERE NOT amvalidate(o.oid)) AS invalid
  FROM pg_opclass o JOIN pg_am a ON a.oid = opcmethod WHERE amname = 'concord_btree';
CREATE OPERATOR CLASS ext_ops FOR TYPE int USING concord_btree AS OPERATOR 1 <, OPERATOR 3 =, FUNCTION 1 btint4cmp(int, int);
SELECT amvalidate(oid) FROM pg_opclass WHERE opcname = 'ext_ops';
DROP OPERATOR FAMILY ext_ops USING concord_btree;
