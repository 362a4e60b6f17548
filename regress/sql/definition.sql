-- Index and constraint definitions: what psql, pg_dump and migration tools read, and run again. Made by heap.
CREATE SCHEMA "de USING concord_btree (";
SET search_path = "de USING concord_btree (";
CREATE TABLE de (a int PRIMARY KEY, b text UNIQUE, c int, d text, EXCLUDE USING btree (c WITH =) INCLUDE (d) WHERE (c > 0),
  CHECK (d <> 'USING concord_btree ('));
CREATE INDEX ON de (lower(d) text_pattern_ops DESC, c) INCLUDE (a) WHERE d <> ' USING concord_btree (';
CREATE UNIQUE INDEX " USING concord_btree (""x""" ON de (c NULLS FIRST, b COLLATE "C");
CREATE INDEX ON de USING btree (a, b) WITH (fillfactor = 70);
CREATE TEMP TABLE de_temp (a int PRIMARY KEY);
CREATE TABLE de_part (a int, b int) PARTITION BY LIST (a);
CREATE TABLE de_part1 PARTITION OF de_part FOR VALUES IN (1);
CREATE INDEX ON de_part (b);

SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid IN ('de'::regclass, 'de_part1'::regclass, 'de_part'::regclass) ORDER BY 1;
SELECT pg_get_indexdef(indexrelid, 0, true) FROM pg_index WHERE indrelid = 'de'::regclass ORDER BY 1;
SELECT pg_get_indexdef(indexrelid, 1, false) FROM pg_index WHERE indrelid = 'de'::regclass ORDER BY 1;
SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'de' ORDER BY indexname;
SELECT conname, pg_get_constraintdef(oid), pg_get_constraintdef(oid, true) FROM pg_constraint
  WHERE conrelid = 'de'::regclass ORDER BY conname;
SELECT pg_get_indexdef(0), pg_get_indexdef(0, 0, true), pg_get_constraintdef(0), pg_get_indexdef(NULL);
\d de

-- Run again, they make the same indexes.
CREATE TABLE de_again (LIKE de INCLUDING ALL);
SELECT replace(pg_get_indexdef(indexrelid), 'de_again', 'de') = ANY
    (SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = 'de'::regclass) AS same
  FROM pg_index WHERE indrelid = 'de_again'::regclass AND NOT indisunique ORDER BY 1;
DO $$
DECLARE
  definitions text[] := ARRAY(SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = 'de'::regclass AND indisunique
    AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid));
  definition text;
BEGIN
  DROP INDEX " USING concord_btree (""x""";
  FOREACH definition IN ARRAY definitions LOOP EXECUTE definition; END LOOP;
END $$;
SELECT pg_get_indexdef('" USING concord_btree (""x"""'::regclass);

-- In views, functions, prepared statements, and where they were planned before an index was there.
CREATE VIEW de_defs AS SELECT indexrelid::regclass AS name, pg_get_indexdef(indexrelid) AS definition FROM pg_index;
PREPARE q AS SELECT definition FROM de_defs WHERE name::text LIKE 'late%';
EXECUTE q;
CREATE INDEX late ON de (d);
EXECUTE q;
SELECT pg_get_viewdef('de_defs');
CREATE FUNCTION def_of(regclass) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN pg_get_indexdef($1); END $$;
SELECT def_of('late');
DROP SCHEMA "de USING concord_btree (" CASCADE;
