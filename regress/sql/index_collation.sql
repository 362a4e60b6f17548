--
-- Text in ICU's collations, deterministic and not, in libc's and in C, against btree (compare_with_btree.sql).
-- Only what differs would show.
--
\getenv srcdir PG_ABS_SRCDIR
\set ECHO none
\i :srcdir/compare_with_btree.sql
\set ECHO all

CREATE COLLATION it_numeric (provider = icu, locale = 'en-u-kn-true');
CREATE COLLATION it_upper_first (provider = icu, locale = 'und-u-kf-upper');
CREATE COLLATION it_phonebook (provider = icu, locale = 'de-u-co-phonebk');
CREATE COLLATION it_punctuation (provider = icu, locale = 'und-u-ka-shifted');
CREATE COLLATION it_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE COLLATION it_accent (provider = icu, locale = 'und-u-ks-level1', deterministic = false);
CREATE COLLATION it_canonical (provider = icu, locale = 'und', deterministic = false);

-- Up to eight of few letters, so that much is equal but for case, accent, punctuation or normal form.
CREATE FUNCTION it_text() RETURNS text LANGUAGE sql VOLATILE AS $$
	SELECT coalesce(string_agg(l[1 + (random() * (array_length(l, 1) - 1))::int], ''), '')
	FROM (SELECT string_to_array(U&'a b A B \00e4 a\0308 \00df ss c C \00e9 e\0301 - _ . 0 1 9 10 02 \00c5 A\030a \4e2d \+01f600', ' ')
		  || ARRAY[' ', E'\t'] AS l) letters, generate_series(1, (random() * 8)::int)
$$;

SELECT it_check('text COLLATE "' || coll || '"', 'it_text()', U&'{"",a,"a ",A,aa,aA,Aa,b,"a-b",ab,a2,a10,a02,\00e4,a\0308,\00c4,ae,ss,\00df}')
FROM unnest(ARRAY['C', 'POSIX', 'C.utf8', 'default', 'en-x-icu', 'de-x-icu', 'und-x-icu', 'it_numeric', 'it_upper_first', 'it_phonebook',
	'it_punctuation', 'it_case', 'it_accent', 'it_canonical']) coll;
SELECT it_check(type || ' COLLATE "' || coll || '"', 'it_text()', U&'{"",a,"a ",A,aa,"aa  ",b,"a-b",ab,\00e4,a\0308,\00c4}')
FROM unnest('{varchar(20),char(12)}'::text[]) type, unnest('{C.utf8,de-x-icu,it_case}'::text[]) coll;
SELECT it_check('name COLLATE "en-x-icu"', 'it_text()::name', '{"",a,A,aa,b}');
SELECT it_check('name COLLATE it_case', 'it_text()::name', '{"",a,A,aa,b}');
SELECT it_check('text[] COLLATE it_numeric', 'ARRAY[it_text(), it_text()]', '{"{}","{a,A}","{a10}","{a9}","{NULL}"}');
SELECT it_check('text[] COLLATE it_case', 'ARRAY[it_text(), it_text()]', '{"{}","{a,A}","{A,a}","{a,NULL}"}');
SELECT it_check('text COLLATE "en-x-icu"', 'it_text()', '{"",a,"a ",A,B,b}', 'text_pattern_ops');

-- several columns, some of them not in the order of their bytes, each with its own direction
CREATE TABLE it_heap (id int, a text COLLATE it_case, b int, c text COLLATE "de-x-icu", d text[] COLLATE "C") USING heap;
INSERT INTO it_heap
SELECT i, CASE WHEN random() < 0.1 THEN NULL ELSE (ARRAY['x', 'X', 'y', 'Y', 'z'])[1 + (random() * 4)::int] END,
	CASE WHEN random() < 0.1 THEN NULL ELSE (random() * 3)::int END, CASE WHEN random() < 0.1 THEN NULL ELSE it_text() END,
	CASE WHEN random() < 0.1 THEN NULL ELSE string_to_array(it_text(), 'a') END
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
		FOREACH condition IN ARRAY ARRAY['true', 'a = ''x''', 'a > ''X''', 'a IN (''Y'', ''z'') AND b > 1', 'b = 2', 'b = 2 AND a = ''X''',
			'c > ''b''', 'c BETWEEN ''a'' AND ''c'' AND b IS NOT NULL', 'c IS NULL', 'a = ''y'' AND c < ''B''', 'd > ''{b}''', 'd = ''{}''',
			'd IS NULL AND a = ''x''', '(a, b) > (''X'', 1)', '(c, b, a) <= (''b'', 2, ''x'')', '(b, c) >= (1, ''a'')'] LOOP
			FOREACH ordering IN ARRAY ARRAY[columns, backward] LOOP
				query := format('SELECT a, b, c, d, row_number() OVER () n FROM (SELECT * FROM it_conc WHERE %s ORDER BY %s) s', condition, ordering);
				IF NOT it_uses_index(query) THEN
					RAISE WARNING 'no index scan for %', query;
				END IF;
				EXECUTE format('SELECT count(*) FILTER (WHERE (x.a, x.b, x.c, x.d) IS DISTINCT FROM (y.a, y.b, y.c, y.d)) '
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

-- what the planner knows
CREATE TABLE it_conc (id int, icu text COLLATE "en-x-icu", nocase text COLLATE it_case, utf8 text COLLATE "C.utf8") USING concord;
CREATE INDEX it_conc_icu ON it_conc (icu);
CREATE INDEX it_conc_pattern ON it_conc (icu text_pattern_ops);
CREATE INDEX it_conc_nocase ON it_conc (nocase);
CREATE INDEX it_conc_utf8 ON it_conc (utf8);
EXPLAIN (COSTS OFF) SELECT icu FROM it_conc ORDER BY icu;
EXPLAIN (COSTS OFF) SELECT icu FROM it_conc WHERE icu LIKE 'ab%';
EXPLAIN (COSTS OFF) SELECT icu FROM it_conc WHERE icu LIKE 'ab';
EXPLAIN (COSTS OFF) SELECT min(nocase), max(nocase) FROM it_conc;
EXPLAIN (COSTS OFF) SELECT utf8 FROM it_conc ORDER BY utf8 DESC;
INSERT INTO it_conc (id, icu) SELECT i, chr(65 + i % 26 + CASE WHEN i % 3 = 0 THEN 32 ELSE 0 END) || 'b' || i FROM generate_series(1, 200) i;
SELECT count(*), min(icu), max(icu) FROM it_conc WHERE icu LIKE 'gb%';
DROP TABLE it_conc;

-- equality and uniqueness are the collation's
CREATE TABLE it_parent (k text COLLATE it_case PRIMARY KEY, v int) USING concord;
INSERT INTO it_parent VALUES ('One', 1), ('two', 2);
INSERT INTO it_parent VALUES ('ONE', 3);
INSERT INTO it_parent VALUES ('oNe', 3), ('Three', 3) ON CONFLICT (k) DO UPDATE SET v = it_parent.v + 10;
UPDATE it_parent SET k = 'TWO' WHERE k = 'Two';
UPDATE it_parent SET k = 'onE' WHERE k = 'tWo';
SELECT * FROM it_parent ORDER BY k;
SELECT k FROM it_parent WHERE k IN ('ONE', 'three', 'four') ORDER BY k;
SELECT k FROM it_parent WHERE k > 'ONE' ORDER BY k DESC;
CREATE TABLE it_child (k text COLLATE it_case REFERENCES it_parent) USING concord;
INSERT INTO it_child VALUES ('ONE'), ('one');
INSERT INTO it_child VALUES ('four');
DELETE FROM it_parent WHERE k = 'one';
UPDATE it_parent SET k = 'OnE' WHERE k = 'one';
SELECT c.k, p.k FROM it_child c JOIN it_parent p USING (k) ORDER BY c.k COLLATE "C";
DROP TABLE it_child, it_parent;
CREATE TABLE it_conc (k text COLLATE it_accent UNIQUE DEFERRABLE INITIALLY DEFERRED, EXCLUDE (k WITH =)) USING concord;
INSERT INTO it_conc VALUES ('resume'), (U&'r\00e9sum\00e9');
ALTER TABLE it_conc DROP CONSTRAINT it_conc_k_excl;
BEGIN;
INSERT INTO it_conc VALUES ('resume'), (U&'r\00e9sum\00e9');
COMMIT;
DROP TABLE it_conc;
CREATE TABLE it_conc (k text COLLATE "en-x-icu") USING concord;
INSERT INTO it_conc VALUES ('a'), ('A'), ('A');
CREATE UNIQUE INDEX ON it_conc (k);
CREATE UNIQUE INDEX ON it_conc (k COLLATE it_case);
DELETE FROM it_conc;
INSERT INTO it_conc VALUES ('a'), ('A');
CREATE UNIQUE INDEX ON it_conc (k);
CREATE UNIQUE INDEX ON it_conc (k COLLATE it_case);
DROP TABLE it_conc;

DROP FUNCTION it_check, it_uses_index, it_text;
DROP COLLATION it_numeric, it_upper_first, it_phonebook, it_punctuation, it_case, it_accent, it_canonical;

-- a database whose default collation is ICU's
\set database :DBNAME
CREATE DATABASE it_icu TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C' LOCALE_PROVIDER icu ICU_LOCALE 'de-u-kn-true';
\c it_icu
CREATE EXTENSION concord;
\set ECHO none
\i :srcdir/compare_with_btree.sql
\set ECHO all
SELECT it_check('text', 'chr(97 + (random() * 3)::int) || (random() * 20)::int', U&'{"",a,A,a2,a10,\00e4,b}');
SELECT it_check('varchar(8)[]', 'ARRAY[chr(97 + (random() * 3)::int) || (random() * 20)::int]', U&'{"{}","{a,NULL}","{A}","{a2}","{a10}"}');
CREATE TABLE it_conc (k text UNIQUE) USING concord;
INSERT INTO it_conc VALUES ('a10'), ('a9'), (U&'\00e4'), ('b'), ('A9');
SELECT k FROM it_conc WHERE k > 'a9' ORDER BY k;
INSERT INTO it_conc VALUES ('A9');
\c :database
DROP DATABASE it_icu;
