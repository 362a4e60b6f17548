-- concord.check() compares indexes with their table.
CREATE TABLE chk (id int PRIMARY KEY, a text, b int) USING concord;
CREATE INDEX chk_a ON chk (a, b);
CREATE INDEX chk_part ON chk (b) WHERE b > 50;
CREATE INDEX chk_expr ON chk (lower(a)) INCLUDE (b);
INSERT INTO chk SELECT i, CASE WHEN i % 7 > 0 THEN 'Text ' || i % 20 END, i FROM generate_series(1, 300) i;
UPDATE chk SET a = a || 'x' WHERE id % 5 = 0;
UPDATE chk SET id = id + 1000 WHERE id % 9 = 0;
DELETE FROM chk WHERE id % 11 = 0;
SELECT * FROM concord.check('chk');
SELECT * FROM concord.check('chk_part');
-- A transaction's own changes count.
BEGIN;
UPDATE chk SET b = b + 1 WHERE id < 100;
DELETE FROM chk WHERE id = 101;
INSERT INTO chk VALUES (-1, 'new', 99);
SELECT * FROM concord.check('chk');
ROLLBACK;
SELECT * FROM concord.check('chk');
-- An index whose expression is not as immutable as it claims disagrees with the rows.
CREATE FUNCTION chk_shift(i int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS
  $$ BEGIN RETURN i + coalesce(nullif(current_setting('chk.shift', true), ''), '0')::int; END $$;
CREATE TABLE chk_bad (id int, b int) USING concord;
CREATE INDEX chk_bad_i ON chk_bad (chk_shift(b));
INSERT INTO chk_bad VALUES (1, 10), (2, 20);
SET chk.shift = 5;
SELECT index, problem, count(*) FROM concord.check('chk_bad') GROUP BY 1, 2 ORDER BY 2;
RESET chk.shift;
SELECT * FROM concord.check('chk_bad');
-- Not for everything, nor for everybody.
CREATE TABLE chk_heap (a int PRIMARY KEY) USING heap;
SELECT * FROM concord.check('chk_heap');
SELECT * FROM concord.check('chk_heap_pkey');
SELECT * FROM concord.check(NULL);
CREATE ROLE chk_nobody;
SET ROLE chk_nobody;
SELECT * FROM concord.check('chk');
RESET ROLE;
DROP ROLE chk_nobody;
DROP TABLE chk, chk_bad, chk_heap;
DROP FUNCTION chk_shift;
