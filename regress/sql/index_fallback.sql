--
-- Types whose comparison function has no encoding: entries have a hash of the value, and the values themselves decide. Against
-- btree (compare_with_btree.sql); only what differs would show.
--
\getenv srcdir PG_ABS_SRCDIR
\set ECHO none
\i :srcdir/compare_with_btree.sql
\set ECHO all

CREATE EXTENSION citext;
-- Numbers whose hash function knows three values only.
CREATE TYPE it_poor;
CREATE FUNCTION it_poor_in(cstring) RETURNS it_poor LANGUAGE internal IMMUTABLE STRICT AS 'int4in';
CREATE FUNCTION it_poor_out(it_poor) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'int4out';
CREATE TYPE it_poor (INPUT = it_poor_in, OUTPUT = it_poor_out, LIKE = int4);
CREATE FUNCTION it_poor_eq(it_poor, it_poor) RETURNS bool LANGUAGE internal IMMUTABLE STRICT AS 'int4eq';
CREATE FUNCTION it_poor_lt(it_poor, it_poor) RETURNS bool LANGUAGE internal IMMUTABLE STRICT AS 'int4lt';
CREATE FUNCTION it_poor_le(it_poor, it_poor) RETURNS bool LANGUAGE internal IMMUTABLE STRICT AS 'int4le';
CREATE FUNCTION it_poor_gt(it_poor, it_poor) RETURNS bool LANGUAGE internal IMMUTABLE STRICT AS 'int4gt';
CREATE FUNCTION it_poor_ge(it_poor, it_poor) RETURNS bool LANGUAGE internal IMMUTABLE STRICT AS 'int4ge';
CREATE FUNCTION it_poor_cmp(it_poor, it_poor) RETURNS int LANGUAGE internal IMMUTABLE STRICT AS 'btint4cmp';
CREATE FUNCTION it_poor_hash(it_poor) RETURNS int LANGUAGE plpgsql IMMUTABLE STRICT AS $$ BEGIN RETURN abs($1::text::int8) % 3; END $$;
CREATE OPERATOR = (LEFTARG = it_poor, RIGHTARG = it_poor, FUNCTION = it_poor_eq, COMMUTATOR = =, RESTRICT = eqsel, JOIN = eqjoinsel, HASHES, MERGES);
CREATE OPERATOR < (LEFTARG = it_poor, RIGHTARG = it_poor, FUNCTION = it_poor_lt, COMMUTATOR = >, RESTRICT = scalarltsel);
CREATE OPERATOR <= (LEFTARG = it_poor, RIGHTARG = it_poor, FUNCTION = it_poor_le, COMMUTATOR = >=, RESTRICT = scalarlesel);
CREATE OPERATOR > (LEFTARG = it_poor, RIGHTARG = it_poor, FUNCTION = it_poor_gt, COMMUTATOR = <, RESTRICT = scalargtsel);
CREATE OPERATOR >= (LEFTARG = it_poor, RIGHTARG = it_poor, FUNCTION = it_poor_ge, COMMUTATOR = <=, RESTRICT = scalargesel);
CREATE OPERATOR CLASS it_poor_ops DEFAULT FOR TYPE it_poor USING btree AS
	OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1 it_poor_cmp(it_poor, it_poor);

-- without a hash function it cannot be indexed, with one of another equality neither
CREATE TABLE it_conc (v it_poor, j jsonb) USING concord;
CREATE INDEX ON it_conc (v);
CREATE INDEX CONCURRENTLY ON it_conc (v);
\d it_conc
CREATE FUNCTION it_poor_ne(it_poor, it_poor) RETURNS bool LANGUAGE internal IMMUTABLE STRICT AS 'int4ne';
CREATE OPERATOR === (LEFTARG = it_poor, RIGHTARG = it_poor, FUNCTION = it_poor_eq);
CREATE OPERATOR CLASS it_other_hash DEFAULT FOR TYPE it_poor USING hash AS OPERATOR 1 ===, FUNCTION 1 it_poor_hash(it_poor);
CREATE INDEX ON it_conc (v);
DROP OPERATOR CLASS it_other_hash USING hash;
CREATE OPERATOR CLASS it_poor_hash DEFAULT FOR TYPE it_poor USING hash AS OPERATOR 1 =, FUNCTION 1 it_poor_hash(it_poor);
-- entries hold what the hash function made of the values
CREATE INDEX it_conc_v ON it_conc (v);
CREATE INDEX it_conc_j ON it_conc (j);
DROP OPERATOR CLASS it_poor_hash USING hash;
DROP TABLE it_conc;

CREATE TYPE it_row AS (a jsonb, b it_poor);
CREATE TYPE it_poor_range AS RANGE (subtype = it_poor);

SELECT it_check('it_poor', '((random() * 40 - 20)::int)::text::it_poor', '{0,1,-1,2147483647,-2147483648}', '', false);
SELECT it_check('jsonb', 'jsonb_build_object(''k'', (random() * 9)::int, ''l'', (random() * 3)::int / 2.0)',
				'{null,true,false,0,1,1.0,1.00,-1,"\"\"","\"a\"","\"A\"",[],[1],[1.0],"{}","{\"a\":1}","{\"a\":1.0}","{\"b\": 1, \"a\": 2}"}', '', false);
SELECT it_check('citext', 'substr(''aAbBcC'', 1 + (random() * 5)::int, (random() * 3)::int)', '{"",a,A,"a ",aA,b}', '', false);
SELECT it_check('citext COLLATE "en-x-icu"', 'substr(''aAbBcC'', 1 + (random() * 5)::int, (random() * 3)::int)', '{"",a,A,"a ",aA,b}', '', false);
SELECT it_check('oidvector', '((random() * 9)::int || '' '' || (random() * 9)::int)::oidvector', '{"","1","1 2"}', '', false);
SELECT it_check('jsonb[]', 'ARRAY[to_jsonb((random() * 4)::int), to_jsonb((random() * 3)::int / 2.0)]', '{"{}","{NULL,1}","{1,1.0}","{{1,1}}"}', '', false);
SELECT it_check('it_poor[]', 'ARRAY[((random() * 9)::int)::text::it_poor, ((random() * 9)::int)::text::it_poor]', '{"{}","{NULL,1}","{1,4}","{4,1}"}', '', false);
SELECT it_check('it_row', 'ROW(to_jsonb((random() * 3)::int), ((random() * 9)::int)::text)', '{"(,)","(1,)","(1.0,)","(,1)","(,4)"}', '', false);
SELECT it_check('it_poor_range', 'it_poor_range(((random() * 3)::int)::text::it_poor, ((random() * 9 + 4)::int)::text::it_poor)',
				'{empty,"(,)","[1,4]","[1,4)","(1,4]"}', '', false);

-- uniqueness among values of one hash
CREATE TABLE it_conc (k it_poor PRIMARY KEY, n int, j jsonb UNIQUE, c citext UNIQUE DEFERRABLE) USING concord;
INSERT INTO it_conc SELECT i::text::it_poor, i, to_jsonb(i), 'c' || i FROM generate_series(1, 9) i;
INSERT INTO it_conc VALUES ('4');
INSERT INTO it_conc VALUES ('13', 13, '4.0');
INSERT INTO it_conc VALUES ('13', 13, '13', 'C4');
INSERT INTO it_conc VALUES ('4'), ('13') ON CONFLICT (k) DO UPDATE SET n = it_conc.n + 100;
INSERT INTO it_conc VALUES ('1'), ('10') ON CONFLICT DO NOTHING;
UPDATE it_conc SET k = '7' WHERE k = '4';
UPDATE it_conc SET k = '16' WHERE k = '4';
BEGIN;
UPDATE it_conc SET k = '19' WHERE k = '16';
INSERT INTO it_conc VALUES ('16', 16);
SAVEPOINT s;
DELETE FROM it_conc WHERE k = '1';
INSERT INTO it_conc VALUES ('1', 1001);
ROLLBACK TO s;
INSERT INTO it_conc VALUES ('22', 22);
COMMIT;
UPDATE it_conc SET c = 'C' || (10 - n), j = to_jsonb(n + 0.0) WHERE n < 10;
SELECT * FROM it_conc ORDER BY k;
SELECT k FROM it_conc WHERE k = '19';
SELECT k FROM it_conc WHERE k IN ('1', '4', '22', '10', NULL) ORDER BY k;
SELECT k FROM it_conc WHERE k > '7' AND k <= '19' ORDER BY k;
SELECT k, j FROM it_conc WHERE j = '3';
SELECT k, c FROM it_conc WHERE c = 'c3';
EXPLAIN (COSTS OFF) SELECT k FROM it_conc WHERE j = '3';
SELECT * FROM concord.check('it_conc');
DELETE FROM it_conc WHERE k = '22';
INSERT INTO it_conc VALUES ('22', 23);
-- the key is another, though its hash is not: who refers to it must be heard
CREATE TABLE it_child (k it_poor REFERENCES it_conc) USING concord;
INSERT INTO it_child VALUES ('22'), ('1');
INSERT INTO it_child VALUES ('25');
UPDATE it_conc SET k = '25' WHERE k = '22';
DELETE FROM it_child WHERE k = '22';
UPDATE it_conc SET k = '25' WHERE k = '22';
DROP TABLE it_child, it_conc;

-- built over rows that are there, old versions of them too
CREATE TABLE it_conc (k it_poor, n int) USING concord;
INSERT INTO it_conc SELECT (i % 50)::text::it_poor, i FROM generate_series(0, 99) i;
CREATE UNIQUE INDEX it_conc_k ON it_conc (k);
CREATE UNIQUE INDEX it_conc_kn ON it_conc (k, n);
DELETE FROM it_conc WHERE n >= 50;
CREATE UNIQUE INDEX it_conc_k ON it_conc (k);
INSERT INTO it_conc VALUES ('17', 0);
UPDATE it_conc SET k = '70' WHERE k = '17';
REINDEX INDEX it_conc_k;
CREATE UNIQUE INDEX CONCURRENTLY it_conc_k2 ON it_conc (k);
REINDEX INDEX CONCURRENTLY it_conc_k2;
SELECT * FROM concord.check('it_conc');
INSERT INTO it_conc VALUES ('70', 0);
CLUSTER it_conc USING it_conc_k;
SELECT count(*), min(k::text::int), max(k::text::int) FROM it_conc WHERE k > '3';
DROP TABLE it_conc;

-- by an operator class of somebody's own, with btree's equality
CREATE FUNCTION it_backward(int4, int4) RETURNS int LANGUAGE sql IMMUTABLE STRICT AS 'SELECT btint4cmp($2, $1)';
CREATE OPERATOR CLASS it_backward_ops FOR TYPE int4 USING btree AS
	OPERATOR 1 >, OPERATOR 2 >=, OPERATOR 3 =, OPERATOR 4 <=, OPERATOR 5 <, FUNCTION 1 it_backward(int4, int4);
CREATE TABLE it_conc (v int) USING concord;
INSERT INTO it_conc SELECT i % 20 FROM generate_series(1, 100) i;
CREATE INDEX it_conc_v ON it_conc (v it_backward_ops);
EXPLAIN (COSTS OFF) SELECT v FROM it_conc WHERE v = 7;
SELECT count(*) FROM it_conc WHERE v = 7;
SELECT count(*) FROM it_conc WHERE v < 7;
DROP TABLE it_conc;

DROP FUNCTION it_check, it_uses_index;
DROP TYPE it_row, it_poor_range;
DROP OPERATOR CLASS it_backward_ops USING btree;
DROP FUNCTION it_backward;
DROP TYPE it_poor CASCADE;
DROP EXTENSION citext;
