-- Index keys hold an enum's sort order. Where no number is left between two labels, all get others, and indexes are built anew.
CREATE TYPE en_type AS ENUM ('L1', 'L2');
CREATE DOMAIN en_domain AS en_type;
CREATE TYPE en_row AS (e en_type, n int);
CREATE TABLE en_t (n int, e en_type, d en_domain, a en_domain[], r en_row);
CREATE UNIQUE INDEX en_e ON en_t (n, e);
CREATE INDEX en_d ON en_t (d);
CREATE INDEX en_a ON en_t (a);
CREATE INDEX en_r ON en_t (r);
CREATE INDEX en_expression ON en_t ((ARRAY[e])) WHERE n < 4;
CREATE INDEX en_n ON en_t (n);
INSERT INTO en_t VALUES (1, 'L1', 'L2', '{L2}', '(L2,1)'), (2, 'L2', 'L1', '{L1}', '(L1,2)');
ALTER TYPE en_type ADD VALUE 'a' BEFORE 'L1';
ALTER TYPE en_type ADD VALUE 'z';
ALTER TYPE en_type RENAME VALUE 'z' TO 'zz';
SET enable_seqscan = off;
SET enable_sort = off;
CREATE FUNCTION en_files() RETURNS text LANGUAGE sql AS
	$$ SELECT string_agg(relfilenode::text, ' ' ORDER BY relname) FROM pg_class WHERE relname ~ '^en_(e|d|a|r|expression)$' $$;
-- Adds values until the indexes have been built anew that often.
CREATE FUNCTION en_add(prefix text, neighbour text, times int) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
	known text := en_files();
	added int := 0;
	other oid := pg_relation_filenode('en_n');
BEGIN
	WHILE times > 0 LOOP
		added := added + 1;
		IF added > 200 THEN
			RAISE 'nothing was built anew';
		END IF;
		EXECUTE format('ALTER TYPE en_type ADD VALUE %L BEFORE %L', prefix || added, neighbour);
		IF en_files() <> known THEN
			times := times - 1;
			known := en_files();
		END IF;
	END LOOP;
	IF other <> pg_relation_filenode('en_n') THEN
		RAISE 'another index was built anew';
	END IF;
	RETURN added;
END $$;
SELECT en_add('i', 'L2', 1);
SELECT enumlabel, enumsortorder FROM pg_enum WHERE enumtypid = 'en_type'::regtype AND enumlabel ~ '^(L|a|z|i1$|i2$)' ORDER BY 2;
SELECT * FROM concord.check('en_t');
INSERT INTO en_t VALUES (3, 'i1', 'i2', '{i3,L1}', '(i4,3)'), (4, 'a', 'zz', '{a}', '(zz,4)');
INSERT INTO en_t VALUES (2, 'L2');
SELECT n FROM en_t WHERE n = 2 AND e = 'L2';
SELECT n, d FROM en_t WHERE d::en_type > 'a' ORDER BY d;
SELECT n, a FROM en_t WHERE a > '{i1}' ORDER BY a;
SELECT n, r FROM en_t WHERE r <= '(L2,1)'::en_row ORDER BY r;
-- together with writes, and taken back
BEGIN;
INSERT INTO en_t VALUES (5, 'L1', 'L2', '{L2,L2}', '(L2,5)');
UPDATE en_t SET d = 'a' WHERE n = 2;
SAVEPOINT s;
SELECT en_add('j', 'i1', 1) > 0 AS added;
SELECT n, d FROM en_t WHERE d::en_type > 'a' ORDER BY d;
ROLLBACK TO s;
SELECT n, d FROM en_t WHERE d::en_type > 'a' ORDER BY d;
SELECT en_add('k', 'L1', 1) > 0 AS added;
UPDATE en_t SET a = '{L1,L1}' WHERE n = 2;
SELECT n, d FROM en_t WHERE d::en_type >= 'a' ORDER BY d;
COMMIT;
SELECT * FROM concord.check('en_t');
SELECT n, a FROM en_t WHERE a > '{a}' ORDER BY a;
RESET ALL;
DROP FUNCTION en_add, en_files;
DROP TABLE en_t;
DROP TYPE en_row;
DROP DOMAIN en_domain;
DROP TYPE en_type;
