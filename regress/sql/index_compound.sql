--
-- Arrays, ranges, multiranges and rows, against btree (compare_with_btree.sql). Only what differs would show.
--
\getenv srcdir PG_ABS_SRCDIR
\set ECHO none
\i :srcdir/compare_with_btree.sql
\set ECHO all

CREATE TYPE it_mood AS ENUM ('sad', 'ok', 'happy');
CREATE TYPE it_pair AS (a int, b text COLLATE "C");
CREATE TYPE it_mixed AS (n numeric, p it_pair, t text COLLATE "en-x-icu", l int[], f float8);
CREATE TYPE it_float AS RANGE (subtype = float8);
CREATE TYPE it_word AS RANGE (subtype = text, collation = "de-x-icu");
CREATE TYPE it_moods AS RANGE (subtype = it_mood);
CREATE TYPE it_many AS RANGE (subtype = int4multirange);
CREATE DOMAIN it_list AS int[] CHECK (array_length(VALUE, 1) < 10);
CREATE DOMAIN it_short AS varchar(4) COLLATE "C";

-- A number or NULL, of few.
CREATE FUNCTION it_int() RETURNS int LANGUAGE sql VOLATILE AS $$
	SELECT CASE WHEN random() < 0.1 THEN NULL ELSE (random() * 6 - 3)::int END
$$;
CREATE FUNCTION it_word() RETURNS text LANGUAGE sql VOLATILE AS $$
	SELECT CASE WHEN random() < 0.1 THEN NULL ELSE substr(U&'aAb\00e4B', 1 + (random() * 3)::int, (random() * 3)::int) END
$$;
CREATE FUNCTION it_ints() RETURNS int[] LANGUAGE sql VOLATILE AS $$
	SELECT coalesce(array_agg(it_int()), '{}') FROM generate_series(1, (random() * 4)::int)
$$;
CREATE FUNCTION it_range() RETURNS int4range LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	low int := it_int();
BEGIN
	RETURN int4range(low, low + (random() * 4)::int, (ARRAY['[]', '[)', '(]', '()'])[1 + (random() * 3)::int]);
END $$;
CREATE FUNCTION it_float_range() RETURNS it_float LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	low float8 := it_int();
BEGIN
	RETURN it_float(low, low + (random() * 4)::int, (ARRAY['[]', '[)', '(]', '()'])[1 + (random() * 3)::int]);
END $$;

SELECT it_check('int[]', 'it_ints()', '{"{}","{NULL}","{1,2}","[0:1]={1,2}","{{1},{2}}","{{1,2}}","[-5:-4]={1,2}","{1,2,NULL}","{{{1}},{{2}}}"}');
SELECT it_check('text[] COLLATE "C"', 'ARRAY[it_word(), it_word()]', '{"{}","{\"\"}","{\"\",\"\"}","{a}","{a,b}","{ab}","{{a,b}}"}');
SELECT it_check('text[] COLLATE "en-x-icu"', 'ARRAY[it_word(), it_word()]', '{"{}","{\"\"}","{\"\",\"\"}","{a}","{A}","{a,b}","{ab}"}');
SELECT it_check('numeric[]', 'ARRAY[it_int() / 4.0, it_int()]', '{"{1.0}","{1.00}","{NaN,1}","{1,NaN}"}');
SELECT it_check('char(3)[] COLLATE "C"', 'ARRAY[it_word()]', '{"{a}","{\"a \"}"}');
SELECT it_check('it_mood[]', 'ARRAY[(enum_range(NULL::it_mood))[(random() * 3)::int], (enum_range(NULL::it_mood))[(random() * 3)::int]]',
				'{"{sad}","{}","{happy,NULL}"}');
SELECT it_check('it_list', 'it_ints()', '{"{}","{1,2}"}');
SELECT it_check('it_short[]', 'ARRAY[it_word(), it_word()]', '{"{}","{abcd}"}');
SELECT it_check('it_pair[]', 'ARRAY[ROW(it_int(), it_word())::it_pair, ROW(it_int(), it_word())::it_pair]', '{"{}","{NULL}","{\"(1,)\"}"}');
SELECT it_check('name[]', 'ARRAY[it_word()::name, it_word()::name]', '{"{}","{a,NULL}"}');
SELECT it_check('int4range', 'it_range()', '{empty,"(,)","[1,)","(,1)","[1,2]","[1,3)","(0,2]"}');
SELECT it_check('numrange', 'numrange(it_int(), NULL, ''[]'')', '{empty,"(,)","[1.0,2]","[1.00,2)","(1,2]","(1,2)","(1,1]","[1,1]"}');
SELECT it_check('it_float', 'it_float_range()', '{empty,"(,)","[1,2]","[1,2)","(1,2]","(1,2)","[-Infinity,NaN]","[-0,0]","[0,0]"}');
SELECT it_check('tstzrange', 'tstzrange(''2024-01-01''::timestamptz + it_int() * interval ''1 h'', NULL)', '{empty,"(-infinity,infinity)","[-infinity,infinity]"}');
SELECT it_check('it_word', 'it_word(least(it_word(), it_word() COLLATE "de-x-icu"), ''z'')', '{empty,"(,)","[a,A]","[a,b)"}');
SELECT it_check('it_moods', 'it_moods(''sad'', (enum_range(NULL::it_mood))[(random() * 3)::int], ''[]'')', '{empty,"(,)","[sad,happy)"}');
SELECT it_check('it_many', 'it_many(int4multirange(it_range()), NULL)', '{empty,"({},\"{[1,2)}\")"}');
SELECT it_check('int4multirange', 'int4multirange(it_range(), it_range(), it_range())', '{"{}","{(,)}","{[1,2),[3,4)}","{[1,2)}","{[1,2),[4,5)}"}');
SELECT it_check('it_float_multirange', 'it_float_multirange(it_float_range(), it_float_range())', '{"{}","{(,)}","{[1,2)}","{[1,2]}","{(1,2)}"}');
SELECT it_check('it_pair', 'ROW(it_int(), it_word())', '{"(,)","(1,)","(,a)","(1,\"\")","(1,a)"}');
SELECT it_check('it_mixed', 'ROW(it_int() / 2.0, ROW(it_int(), it_word())::it_pair, it_word(), it_ints(), it_int())',
				'{"(,,,,)","(1,\"(1,)\",,,)","(1.0,\"(1,)\",,,)","(1.00,,,,NaN)","(NaN,\"(,)\",a,\"{}\",)"}');
SELECT it_check('it_pair', 'ROW(it_int(), it_word())', '{"(,)","(1,)","(,a)"}', 'record_image_ops', false);

-- the order of record_image_ops, which it_check cannot ask for
CREATE TABLE it_heap (v it_mixed) USING heap;
INSERT INTO it_heap SELECT CASE WHEN i > 9 THEN ROW(it_int() / 2.0, ROW(it_int(), it_word())::it_pair, it_word(), it_ints(), it_int())::it_mixed END
FROM generate_series(1, 300) i;
CREATE TABLE it_conc (v it_mixed) USING concord;
INSERT INTO it_conc SELECT * FROM it_heap;
CREATE INDEX ON it_conc (v record_image_ops);
EXPLAIN (COSTS OFF) SELECT v FROM it_conc ORDER BY v USING *<;
SELECT count(*) FROM (SELECT v, row_number() OVER () n FROM (SELECT v FROM it_conc ORDER BY v USING *<) s) a
FULL JOIN (SELECT v, row_number() OVER () n FROM (SELECT v FROM it_heap ORDER BY v USING *<) s) b USING (n)
WHERE a.v::text IS DISTINCT FROM b.v::text;
SELECT count(*) FROM it_heap s, LATERAL (SELECT count(*) FROM it_heap WHERE v *>= s.v) a(n), LATERAL (SELECT count(*) FROM it_conc WHERE v *>= s.v) b(n)
WHERE a.n <> b.n;
DROP TABLE it_heap, it_conc;

-- several columns, each with its own direction
CREATE TABLE it_heap (id int, a int[], b int4range, c it_pair, d int) USING heap;
INSERT INTO it_heap
SELECT i, CASE WHEN random() < 0.1 THEN NULL ELSE ARRAY[it_int()] END, CASE WHEN random() < 0.1 THEN NULL ELSE int4range(it_int(), 4) END,
	CASE WHEN random() < 0.1 THEN NULL ELSE ROW(it_int(), it_word())::it_pair END, it_int()
FROM generate_series(1, 500) i;
CREATE TABLE it_conc (LIKE it_heap) USING concord;
INSERT INTO it_conc SELECT * FROM it_heap;
DO $$
DECLARE
	columns text;
	backward text;
	condition text;
	ordering text;
	query text;
	wrong bigint;
BEGIN
	FOR i IN 1..12 LOOP
		SELECT string_agg(format('%s %s NULLS %s', col, CASE WHEN down THEN 'DESC' ELSE 'ASC' END, CASE WHEN first THEN 'FIRST' ELSE 'LAST' END), ', '),
			string_agg(format('%s %s NULLS %s', col, CASE WHEN down THEN 'ASC' ELSE 'DESC' END, CASE WHEN first THEN 'LAST' ELSE 'FIRST' END), ', ')
			INTO columns, backward
			FROM (SELECT col, random() < 0.5 AS down, random() < 0.5 AS first FROM unnest('{a,b,c,d}'::text[]) col ORDER BY random()) s;
		EXECUTE format('CREATE INDEX it_heap_x ON it_heap (%s)', columns);
		EXECUTE format('CREATE INDEX it_conc_x ON it_conc (%s)', columns);
		FOREACH condition IN ARRAY ARRAY['true', 'a = ''{1}''', 'a > ''{1}''', 'b = ''[1,4)'' AND a < ''{3,2}''', 'b IN (''[1,4)'', ''[2,4)'', ''empty'')',
			'b >= ''(,4)''', 'c = ROW(1, ''a'')::it_pair', 'c > ROW(1, NULL)::it_pair', 'c < ROW(2, ''b''::text COLLATE "C")', 'c IS NULL', 'c IS NOT NULL AND d = 1',
			'd = 2 AND c <= ROW(1, ''b'')::it_pair', 'a IN (''{1}'', ''{NULL}'', ''{2}'') AND d > 0', '(a, b) > (''{1}'', ''[2,4)'')', '(d, c) <= (1, ROW(2, ''a'')::it_pair)'] LOOP
			FOREACH ordering IN ARRAY ARRAY[columns, backward] LOOP
				query := format('SELECT a, b, c, d, row_number() OVER () n FROM (SELECT * FROM it_conc WHERE %s ORDER BY %s) s', condition, ordering);
				IF NOT it_uses_index(query) THEN
					RAISE WARNING 'no index scan for %', query;
				END IF;
				EXECUTE format('SELECT count(*) FILTER (WHERE (x.a, x.b, x.c, x.d)::text IS DISTINCT FROM (y.a, y.b, y.c, y.d)::text) '
							   'FROM (%s) x FULL JOIN (%s) y USING (n)', query, replace(query, 'it_conc', 'it_heap')) INTO wrong;
				IF wrong > 0 THEN
					RAISE WARNING '% order by %: % differ (seed %)', condition, ordering, wrong, current_setting('it.seed');
				END IF;
			END LOOP;
		END LOOP;
		DROP INDEX it_heap_x, it_conc_x;
	END LOOP;
END $$;
DROP TABLE it_heap, it_conc;

-- uniqueness, and rows of other types as arguments
CREATE TABLE it_conc (l int[] PRIMARY KEY, r numrange UNIQUE, p it_pair UNIQUE) USING concord;
INSERT INTO it_conc VALUES ('{1,2}', '[1.0,2)', '(1,a)'), ('{}', 'empty', '(1,)'), ('{NULL}', NULL, NULL), ('{{1,2}}', NULL, NULL);
INSERT INTO it_conc VALUES ('{1,2}');
INSERT INTO it_conc VALUES ('[1:2]={1,2}');
INSERT INTO it_conc VALUES ('{2}', '[1,2.00)');
INSERT INTO it_conc VALUES ('{2}', '(1,1)');
INSERT INTO it_conc VALUES ('{2}', NULL, ROW(1, NULL));
INSERT INTO it_conc VALUES ('{NULL}');
INSERT INTO it_conc VALUES ('{1,2}') ON CONFLICT (l) DO UPDATE SET r = '[1.00,2)', p = ROW(1, 'b');
UPDATE it_conc SET p = ROW((p).a, 'a') WHERE p = ROW(1, 'b')::it_pair;
SELECT * FROM it_conc ORDER BY p;
EXPLAIN (COSTS OFF) SELECT l FROM it_conc WHERE p = ROW(1, 'a'::text COLLATE "C");
SELECT l FROM it_conc WHERE p = ROW(1, 'a'::text COLLATE "C");
SELECT l FROM it_conc WHERE p = ROW(1, 'a'::text COLLATE "en-x-icu");
SELECT l FROM it_conc WHERE p IN (ROW(1, 'a')::it_pair, NULL, ROW(1, NULL)::it_pair) ORDER BY p;
SELECT l FROM it_conc WHERE p = ROW(1::int8, 'a');
SELECT l FROM it_conc WHERE p = ROW(1);
SELECT l FROM it_conc WHERE p *= ROW(1, 'a'::text);
DROP TABLE it_conc;
CREATE TABLE it_conc (k int4range, v text, EXCLUDE (k WITH =)) USING concord;
INSERT INTO it_conc VALUES ('[1,3)', 'a'), ('[1,4)', 'b');
INSERT INTO it_conc VALUES ('[1,2]', 'c');
DROP TABLE it_conc;
CREATE TABLE it_parent (k it_pair PRIMARY KEY) USING concord;
CREATE TABLE it_child (k it_pair REFERENCES it_parent ON UPDATE CASCADE) USING concord;
INSERT INTO it_parent VALUES ('(1,a)'), ('(2,b)');
INSERT INTO it_child VALUES ('(1,a)'), ('(2,b)'), ('(1,a)');
INSERT INTO it_child VALUES ('(1,b)');
UPDATE it_parent SET k = ROW((k).a + 10, (k).b);
DELETE FROM it_parent WHERE k = ROW(11, 'a')::it_pair;
SELECT * FROM it_child ORDER BY k DESC;
DROP TABLE it_child, it_parent;

-- refused: what has neither an encoding nor a hash function, however deep
CREATE TYPE it_search AS (a int, b tsvector);
CREATE TABLE it_conc (a tsvector[], c it_search, d it_search[]) USING concord;
CREATE INDEX ON it_conc (a);
CREATE INDEX ON it_conc (c);
CREATE INDEX ON it_conc (d);
DROP TABLE it_conc;

-- a row type that changes
CREATE TYPE it_changing AS (a int, b text COLLATE "C");
CREATE TABLE it_rows (a int, b int, c int) USING heap;
CREATE TABLE it_conc (k it_changing, r it_rows[]) USING concord;
CREATE UNIQUE INDEX it_conc_k ON it_conc (k);
CREATE INDEX it_conc_r ON it_conc (r);
INSERT INTO it_conc SELECT ROW(i, 'x')::it_changing, ARRAY[ROW(i, i, i)::it_rows] FROM generate_series(1, 3) i;
PREPARE in_order AS SELECT k FROM it_conc ORDER BY k DESC;
EXECUTE in_order;
ALTER TYPE it_changing ADD ATTRIBUTE c numeric;
INSERT INTO it_conc VALUES ('(2,x,)');
INSERT INTO it_conc VALUES ('(2,x,1.0)'), ('(2,x,2)');
INSERT INTO it_conc VALUES ('(2,x,1)');
UPDATE it_conc SET k.c = 0 WHERE k = ROW(1, 'x' COLLATE "C", NULL::numeric)::it_changing;
EXECUTE in_order;
ALTER TYPE it_changing ADD ATTRIBUTE d jsonb;
ALTER TYPE it_changing ADD ATTRIBUTE d tsvector;
ALTER TABLE it_rows ADD COLUMN d jsonb;
ALTER TYPE it_changing ADD ATTRIBUTE d int[];
INSERT INTO it_conc VALUES ('(2,x,1,{})'), ('(2,x,1,{1})');
INSERT INTO it_conc VALUES ('(2,x,1,)');
EXECUTE in_order;
SELECT * FROM concord.check('it_conc');
ALTER TYPE it_changing DROP ATTRIBUTE b;
ALTER TABLE it_rows DROP COLUMN b;
ALTER TABLE it_rows ADD COLUMN d text COLLATE "C";
EXPLAIN (COSTS OFF) SELECT k FROM it_conc WHERE r = ARRAY[ROW(2, 2, 2, NULL)::it_rows];
SELECT k FROM it_conc WHERE r = ARRAY[ROW(2, 2, 2, NULL)::it_rows];
DROP INDEX it_conc_k, it_conc_r;
ALTER TYPE it_changing DROP ATTRIBUTE b;
ALTER TABLE it_rows DROP COLUMN b;
CREATE UNIQUE INDEX it_conc_k ON it_conc (k);
ALTER TYPE it_changing DROP ATTRIBUTE d;
DEALLOCATE in_order;
DROP TABLE it_conc, it_rows;
DROP TYPE it_changing;

DROP FUNCTION it_check, it_uses_index, it_int, it_word(), it_ints(), it_range, it_float_range;
DROP TYPE it_moods, it_mood, it_mixed, it_pair, it_float, it_word, it_many, it_search;
DROP DOMAIN it_list, it_short;
