--
-- Index encodings type by type, against btree (compare_with_btree.sql). Only what differs would show.
--
\getenv srcdir PG_ABS_SRCDIR
\set ECHO none
\i :srcdir/compare_with_btree.sql
\set ECHO all
SET timezone = 'Europe/Berlin';

CREATE TYPE it_mood AS ENUM ('sad', 'ok', 'happy');
ALTER TYPE it_mood ADD VALUE 'meh' BEFORE 'ok';
CREATE DOMAIN it_small AS int2 CHECK (VALUE < 30000);

SELECT it_check('bool', 'random() < 0.5', '{t,f}');
SELECT it_check('"char"', 'chr((random() * 90)::int + 33)::"char"', '{a,"",A}');
SELECT it_check('int2', '(random() * 65535 - 32768)::int4', '{0,1,-1,32767,-32768}');
SELECT it_check('it_small', '(random() * 100)::int4', '{0,-32768,29999}');
SELECT it_check('int4', '((random() - 0.5) * 4294967294)::int8', '{0,1,-1,2147483647,-2147483648}');
SELECT it_check('int8', '((random() - 0.5) * 1.8e19)::int8', '{0,1,-1,9223372036854775807,-9223372036854775808}');
SELECT it_check('oid', '(random() * 4294967295)::int8', '{0,1,4294967295}');
SELECT it_check('float4', '(random() - 0.5) * 10 ^ (random() * 60 - 30)', '{0,-0,NaN,Infinity,-Infinity,1e-45,-1e-45,3.4e38}');
SELECT it_check('float8', '(random() - 0.5) * 10 ^ (random() * 600 - 300)', '{0,-0,NaN,Infinity,-Infinity,5e-324,-5e-324}');
SELECT it_check('numeric', 'round(((random() - 0.5) * 10 ^ (random() * 40 - 20))::numeric, (random() * 30)::int)',
				'{0,0.000,1.0,1.00,-1.0,-1.00,NaN,Infinity,-Infinity,1e100,1e-100,-1e100,-1e-100,10000,9999.9999,100000000}');
SELECT it_check('numeric', '(random() * 20 - 10)::int / 4.0', '{0.10,0.1,1e1000,-1e1000,12345678901234567890.0987654321}');
SELECT it_check('money', '((random() - 0.5) * 1e9)::numeric::money', '{0,1,-1}');
SELECT it_check('text COLLATE "C"', 'substr(md5(random()::text), 1, (random() * 5)::int)', '{"",a,"a ",aa,A,ä,"\t"}');
SELECT it_check('varchar(20) COLLATE "C"', 'repeat(chr((random() * 3)::int + 97), (random() * 5)::int)', '{"",a,"a ",ab}');
SELECT it_check('char(8) COLLATE "C"', 'repeat(chr((random() * 3)::int + 97), (random() * 5)::int)', '{"",a,"a ",ab,"a\tb"}');
SELECT it_check('name', 'substr(md5(random()::text), 1, (random() * 5)::int)', '{"",a,aa,A}');
SELECT it_check('text', 'substr(md5(random()::text), 1, (random() * 5)::int)', '{"",a,"a ",aa,A}', 'text_pattern_ops');
SELECT it_check('varchar', 'repeat(chr((random() * 3)::int + 97), (random() * 5)::int)', '{"",a,"a ",ab}', 'varchar_pattern_ops');
SELECT it_check('char(8)', 'repeat(chr((random() * 3)::int + 97), (random() * 5)::int)', '{"",a,"a ",ab}', 'bpchar_pattern_ops');
SELECT it_check('bytea', 'decode(substr(md5(random()::text), 1, (random() * 4)::int * 2), ''hex'')', '{"\\x","\\x00","\\x0000","\\x00ff","\\xff"}');
SELECT it_check('uuid', 'md5(random()::text)::uuid', '{00000000-0000-0000-0000-000000000000,ffffffff-ffff-ffff-ffff-ffffffffffff}');
SELECT it_check('date', '''2000-01-01''::date + ((random() - 0.5) * 1e6)::int', '{infinity,-infinity,4713-01-01 BC,5874897-12-31}');
SELECT it_check('time', '''00:00''::time + random() * ''24 h''::interval', '{00:00,24:00}');
SELECT it_check('timetz', '(''00:00''::time + (random() * 24)::int * ''1 h''::interval)::text || to_char((random() * 30)::int - 15, ''SG00'')',
				'{00:00+00,01:00+01,23:00-01,24:00-15:59,00:00+15:59}');
SELECT it_check('timestamp', '''2000-01-01''::timestamp + (random() - 0.5) * ''4000 y''::interval', '{infinity,-infinity,4713-01-01 BC,2000-01-01}');
SELECT it_check('timestamptz', '''2000-01-01''::timestamptz + (random() - 0.5) * ''4000 y''::interval', '{infinity,-infinity,2000-01-01,4713-01-01 BC,0001-12-31 23:59:59 BC,0001-01-01}');
SELECT it_check('interval', 'make_interval(months => (random() * 4 - 2)::int, days => (random() * 90 - 45)::int, hours => (random() * 2000 - 1000)::int)',
				'{0,1 month,30 days,720 hours,-1 month,-30 days,178000000 years,-178000000 years}');
SELECT it_check('inet', '(''10.'' || (random() * 3)::int || ''.'' || (random() * 3)::int || ''.'' || (random() * 255)::int || ''/'' || (random() * 32)::int)',
				'{0.0.0.0/0,255.255.255.255,::/0,::1,10.0.0.0/8,10.0.0.0/16,10.1.2.3/8,fe80::1/64,fe80::/10}');
SELECT it_check('cidr', 'network((''10.'' || (random() * 3)::int || ''.0.'' || (random() * 255)::int || ''/'' || (random() * 32)::int)::inet)',
				'{0.0.0.0/0,::/0,10.0.0.0/8,10.0.0.0/16}');
SELECT it_check('macaddr', 'substr(md5(random()::text), 1, 12)', '{00:00:00:00:00:00,ff:ff:ff:ff:ff:ff}');
SELECT it_check('macaddr8', 'substr(md5(random()::text), 1, 16)', '{00:00:00:00:00:00:00:00,ff:ff:ff:ff:ff:ff:ff:ff}');
SELECT it_check('it_mood', '(enum_range(NULL::it_mood))[(random() * 3)::int + 1]', '{sad,meh,ok,happy}');
SELECT it_check('bit(9)', '(random() * 511)::int::bit(9)', '{000000000,111111111}');
SELECT it_check('varbit', 'substring((random() * 65535)::int::bit(16)::varbit FROM 1 FOR (random() * 16)::int)', '{"",0,00,1,00000000,000000000,11111111,111111110}');
SELECT it_check('pg_lsn', '(''0/'' || substr(md5(random()::text), 1, 8))', '{0/0,FFFFFFFF/FFFFFFFF}');
SELECT it_check('xid8', '((random() * 1e15)::int8)::text', '{0,18446744073709551615}');
SELECT it_check('tid', 'format(''(%s,%s)'', (random() * 9)::int, (random() * 9)::int + 1)', '{"(0,1)","(4294967294,65535)"}');

-- comparisons across types
CREATE TABLE it_heap (i2 int2, i4 int4, i8 int8, f4 float4, f8 float8, d date, ts timestamp, tz timestamptz, t text COLLATE "C", n name)
	USING heap;
INSERT INTO it_heap
SELECT ((random() - 0.5) * 65535)::int2, ((random() - 0.5) * 100000)::int4, ((random() - 0.5) * 100000)::int8,
	(random() * 100)::numeric(5, 1)::float4, (random() * 100)::numeric(5, 1)::float8,
	'2024-03-25'::date + (random() * 12)::int, '2024-03-25'::timestamp + (random() * 300)::int * '1 h'::interval,
	'2024-03-25'::timestamptz + (random() * 300)::int * '1 h'::interval, chr(97 + (random() * 9)::int), chr(97 + (random() * 9)::int)
FROM generate_series(1, 90);
INSERT INTO it_heap VALUES
	(32767, 2147483647, 9223372036854775807, 'Infinity', 'Infinity', 'infinity', 'infinity', 'infinity', '', ''),
	(-32768, -2147483648, -9223372036854775808, '-Infinity', '-Infinity', '-infinity', '-infinity', '-infinity', 'zz', 'zz'),
	(0, 0, 0, 'NaN', 'NaN', '5874897-12-31', '294276-12-31', '294276-12-30', 'a', 'a');
CREATE TABLE it_conc (LIKE it_heap) USING concord;
INSERT INTO it_conc SELECT * FROM it_heap;
DO $$
DECLARE
	a text;
	b text;
	operator text;
	direction text;
	wrong bigint;
	families text[] := ARRAY['i2 i4 i8', 'f4 f8', 'd ts tz', 't n'];
	family text;
BEGIN
	FOREACH direction IN ARRAY ARRAY['', 'DESC'] LOOP
		FOREACH family IN ARRAY families LOOP
			FOREACH a IN ARRAY string_to_array(family, ' ') LOOP
				EXECUTE format('CREATE INDEX it_heap_x ON it_heap (%s %s)', a, direction);
				EXECUTE format('CREATE INDEX it_conc_x ON it_conc (%s %s)', a, direction);
				FOREACH b IN ARRAY string_to_array(family, ' ') LOOP
					FOREACH operator IN ARRAY ARRAY['<', '<=', '=', '>=', '>'] LOOP
						EXECUTE format('SELECT count(*) FROM it_heap s, '
									   'LATERAL (SELECT count(*) FROM it_heap h WHERE h.%1$s %2$s s.%3$s) a(n), '
									   'LATERAL (SELECT count(*) FROM it_conc c WHERE c.%1$s %2$s s.%3$s) b(n) WHERE a.n <> b.n',
									   a, operator, b) INTO wrong;
						IF wrong > 0 THEN
							RAISE WARNING '% % % %: % differ (seed %)', a, direction, operator, b, wrong, current_setting('it.seed');
						END IF;
					END LOOP;
				END LOOP;
				EXECUTE format('DROP INDEX it_heap_x, it_conc_x');
			END LOOP;
		END LOOP;
	END LOOP;
END $$;
DROP TABLE it_heap, it_conc;

-- several columns: prefixes, ranges behind equality, arrays, rows, NULLs, contradictions
CREATE TABLE it_heap (id int, a int, b text COLLATE "C", c numeric) USING heap;
INSERT INTO it_heap
SELECT i, CASE WHEN random() < 0.1 THEN NULL ELSE (random() * 6)::int END,
	CASE WHEN random() < 0.1 THEN NULL ELSE chr(97 + (random() * 4)::int) END,
	CASE WHEN random() < 0.1 THEN NULL ELSE (random() * 5)::int / 2.0 END
FROM generate_series(1, 2000) i;
CREATE TABLE it_conc (LIKE it_heap) USING concord;
INSERT INTO it_conc SELECT * FROM it_heap;
CREATE FUNCTION it_compare(condition text, ordering text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	wrong bigint;
	query text := format('SELECT a, b, c, row_number() OVER () n FROM (SELECT a, b, c FROM it_conc WHERE %s ORDER BY %s) s',
						 condition, ordering);
	total bigint;
BEGIN
	IF NOT it_uses_index(query) THEN
		RAISE WARNING 'no index scan for %', query;
	END IF;
	EXECUTE format('SELECT count(*) FILTER (WHERE (x.a, x.b, x.c) IS DISTINCT FROM (y.a, y.b, y.c)) FROM (%s) x FULL JOIN (%s) y USING (n)',
				   query, replace(query, 'it_conc', 'it_heap')) INTO wrong;
	IF wrong > 0 THEN
		RAISE WARNING '% order by %: % differ (seed %)', condition, ordering, wrong, current_setting('it.seed');
	END IF;
	EXECUTE format('SELECT count(*) FROM (SELECT count(*), sum(id) FROM it_heap WHERE %1$s) x(n, s), '
				   '(SELECT count(*), sum(id) FROM it_conc WHERE %1$s) y(n, s) WHERE (x.n, x.s) IS DISTINCT FROM (y.n, y.s)', condition)
		INTO wrong;
	IF wrong > 0 THEN
		RAISE WARNING '%: other rows (seed %)', condition, current_setting('it.seed');
	END IF;
END $$;
DO $$
DECLARE
	columns text;
	backward text;
	condition text;
BEGIN
	FOREACH columns IN ARRAY ARRAY['a, b, c', 'a DESC, b, c DESC', 'a NULLS FIRST, b DESC NULLS LAST, c',
								   'a DESC, b DESC, c DESC'] LOOP
		EXECUTE format('CREATE INDEX it_heap_abc ON it_heap (%s)', columns);
		EXECUTE format('CREATE INDEX it_conc_abc ON it_conc (%s)', columns);
		SELECT string_agg(CASE WHEN col ~ 'DESC' THEN regexp_replace(col, ' .*', '') || CASE WHEN col ~ 'LAST' THEN ' NULLS FIRST' ELSE '' END
							   ELSE regexp_replace(col, ' .*', '') || ' DESC' || CASE WHEN col ~ 'FIRST' THEN ' NULLS LAST' ELSE '' END END, ', ')
			INTO backward FROM unnest(string_to_array(columns, ', ')) col;
		FOREACH condition IN ARRAY ARRAY[
			'true', 'a = 3', 'a = 3 AND b = ''c''', 'a = 3 AND b > ''b''', 'a = 3 AND b > ''b'' AND b <= ''d'' AND c < 2', 'a > 2 AND c = 1',
			'a IS NULL', 'a IS NULL AND b IS NULL', 'a IS NULL AND b > ''a''', 'a IS NOT NULL AND b = ''b''', 'a = 2 AND b IS NOT NULL',
			'a = 2 AND b IS NULL AND c >= 1', 'a IN (1, 3, 5, 3, NULL)', 'a IN (5, 1) AND b IN (''d'', ''a'', ''zz'')', 'a IN (1, 2) AND b > ''b''',
			'a IN (1, 4) AND c IN (1, 1.5)', 'a > ANY (ARRAY[2, 4])', 'a < ANY (ARRAY[2, 4]) AND b = ''a''', 'a = ANY (NULL::int[])', 'a = ANY (''{}''::int[])',
			'a = 1 AND a = 2', 'a > 3 AND a < 2', 'a > 1 AND a >= 3 AND a < 6 AND a <= 4', 'a = 3 AND a > 2', 'a = 3 AND a > 5', 'a = (SELECT NULL::int)',
			'a IN (1, 2, 3) AND a > 1', 'a IN (1, 2, 3) AND a = ANY (ARRAY[3, 2, 9])', 'a = 99999999999', 'a < 99999999999', 'a > -99999999999',
			'a = ANY (ARRAY[1, 99999999999])', '(a, b) > (2, ''b'')', '(a, b) >= (2, ''b'')', '(a, b) < (4, ''c'')', '(a, b, c) <= (4, ''c'', 1.5)',
			'(a, b, c) > (2, ''b'', 1)', '(a, c) > (2, 1)', '(b, a) > (''b'', 2)', '(a, b) > (2, NULL)', '(a, b) > (NULL, ''b'')',
			'a = 2 AND (b, c) > (''b'', 1)', 'a = 2 AND (b, c) < (''d'', 2) AND b > ''a''', 'a >= 2 AND (a, b) < (5, ''b'')'] LOOP
			PERFORM it_compare(condition, columns);
			PERFORM it_compare(condition, backward);
		END LOOP;
		DROP INDEX it_heap_abc, it_conc_abc;
	END LOOP;
END $$;

-- mark and restore, turning round
CREATE INDEX it_conc_a ON it_conc (a, id);
SET enable_hashjoin = off;
SET enable_nestloop = off;
EXPLAIN (COSTS OFF) SELECT count(*) FROM it_conc x JOIN it_conc y ON x.a = y.a;
SELECT (SELECT count(*) FROM it_conc x JOIN it_conc y ON x.a = y.a) = (SELECT sum(n * n) FROM (SELECT count(*) n FROM it_heap WHERE a IS NOT NULL GROUP BY a) s) AS same;
RESET enable_hashjoin;
RESET enable_nestloop;
BEGIN;
DECLARE c SCROLL CURSOR FOR SELECT a, id FROM it_conc WHERE a IN (2, 4) AND id < 60 ORDER BY a, id;
CREATE FUNCTION it_walk(VARIADIC steps text[]) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	step text;
	got record;
	cur refcursor := 'c';
	result text := '';
BEGIN
	FOREACH step IN ARRAY steps LOOP
		IF step = 'next' THEN FETCH NEXT FROM cur INTO got;
		ELSIF step = 'prior' THEN FETCH PRIOR FROM cur INTO got;
		ELSIF step = 'last' THEN FETCH LAST FROM cur INTO got;
		ELSE FETCH FIRST FROM cur INTO got; END IF;
		result := result || coalesce((SELECT count(*)::text FROM it_heap h WHERE h.a IN (2, 4) AND h.id < 60 AND (h.a, h.id) <= (got.a, got.id)), '-') || ' ';
	END LOOP;
	RETURN result;
END $$;
SELECT it_walk('next', 'next', 'next', 'prior', 'prior', 'prior', 'next', 'next', 'first', 'next');
SELECT split_part(it_walk('last', 'prior', 'next', 'next', 'prior', 'first'), ' ', 6) AS first_again;
COMMIT;
DROP TABLE it_heap, it_conc;

-- uniqueness
CREATE TABLE it_conc (k numeric, d text, CONSTRAINT it_conc_pk PRIMARY KEY (k)) USING concord;
INSERT INTO it_conc VALUES (1.0, 'a'), (2, 'b');
INSERT INTO it_conc VALUES (1.00, 'c');
INSERT INTO it_conc VALUES (1.00, 'c') ON CONFLICT (k) DO UPDATE SET d = 'upserted';
UPDATE it_conc SET k = 2.0 WHERE k = 1;
UPDATE it_conc SET k = 1.000 WHERE k = 1;
SELECT * FROM it_conc ORDER BY k;
BEGIN;
DELETE FROM it_conc WHERE k = 1;
INSERT INTO it_conc VALUES (1, 'again');
SAVEPOINT s;
UPDATE it_conc SET k = k + 10;
INSERT INTO it_conc VALUES (1, 'third');
ROLLBACK TO s;
INSERT INTO it_conc VALUES (11, 'eleven');
COMMIT;
SELECT * FROM it_conc ORDER BY k;
CREATE UNIQUE INDEX it_conc_d ON it_conc (length(d)) WHERE k < 10;
INSERT INTO it_conc VALUES (3, 'x'), (4, 'y');
INSERT INTO it_conc VALUES (40, 'y');
UPDATE it_conc SET k = 4 WHERE k = 40;
UPDATE it_conc SET k = 4, d = 'yy' WHERE k = 40;
SELECT * FROM it_conc ORDER BY k;
DROP TABLE it_conc;
CREATE TABLE it_conc (a int UNIQUE, b int UNIQUE NULLS NOT DISTINCT, c int UNIQUE DEFERRABLE INITIALLY DEFERRED) USING concord;
INSERT INTO it_conc VALUES (NULL, NULL, 1), (NULL, 1, 2);
INSERT INTO it_conc VALUES (NULL, NULL, 3);
UPDATE it_conc SET c = 3 - c;
BEGIN;
INSERT INTO it_conc VALUES (5, 5, 1);
UPDATE it_conc SET c = 7 WHERE a = 5;
COMMIT;
INSERT INTO it_conc VALUES (6, 6, 1);
SELECT * FROM it_conc ORDER BY c;
CREATE TABLE it_dup (v text) USING concord;
INSERT INTO it_dup VALUES ('x'), ('y'), ('x');
CREATE UNIQUE INDEX it_dup_v ON it_dup (v);
DROP TABLE it_conc, it_dup;

-- INCLUDE columns follow their row
CREATE TABLE it_conc (k int, p text) USING concord;
CREATE UNIQUE INDEX it_conc_k ON it_conc (k) INCLUDE (p);
INSERT INTO it_conc VALUES (1, 'one');
UPDATE it_conc SET p = 'two' WHERE k = 1;
EXPLAIN (COSTS OFF) SELECT p FROM it_conc WHERE k = 1;
SELECT p FROM it_conc WHERE k = 1;
DROP TABLE it_conc;

-- refused: no hash function, nor any comparison of all values that we know
CREATE TABLE it_conc (v tsvector, a tsvector[], t text) USING concord;
CREATE INDEX ON it_conc (v);
CREATE INDEX ON it_conc (a);
CREATE INDEX ON it_conc (t) INCLUDE (v, a);
INSERT INTO it_conc (t) VALUES (repeat('x', 480));
INSERT INTO it_conc (t) VALUES (repeat('x', 10000));
SELECT count(*) FROM it_conc WHERE t = repeat('x', 10000);
DROP TABLE it_conc;

DROP FUNCTION it_check, it_uses_index, it_compare, it_walk;
DROP TYPE it_mood;
DROP DOMAIN it_small;
