-- Transactions so large that they send changes ahead of their commit.
CREATE TABLE ahead(id int PRIMARY KEY, n int, filler text) USING concord;
CREATE INDEX ahead_n ON ahead(n);
CREATE FUNCTION ahead_sums(OUT rows bigint, OUT ids bigint, OUT numbers bigint, OUT lengths bigint) LANGUAGE sql AS
  'SELECT count(*), sum(id), sum(n), sum(length(filler)) FROM ahead';
SET enable_seqscan = off;

-- Rows that were sent and then changed again, deleted, and inserted once more.
BEGIN;
INSERT INTO ahead SELECT i, i, repeat('x', 100) FROM generate_series(1, 20000) i;
SELECT * FROM ahead_sums();
UPDATE ahead SET n = n + 100000 WHERE id <= 5000;
DELETE FROM ahead WHERE id % 10 = 0;
INSERT INTO ahead SELECT i, -i, repeat('y', 200) FROM generate_series(10, 20000, 20) i;
SAVEPOINT s;
UPDATE ahead SET filler = '';
INSERT INTO ahead SELECT i, i, repeat('z', 100) FROM generate_series(30001, 50000) i;
ROLLBACK TO s;
DELETE FROM ahead WHERE id > 19000;
SELECT * FROM ahead_sums();
COMMIT;
SELECT * FROM ahead_sums();
SELECT count(*) FROM ahead WHERE n > 100000;
SELECT count(*) FROM ahead WHERE n < 0;
RESET enable_seqscan;
SELECT * FROM ahead_sums();

-- What was sent ahead of a rollback is not there.
BEGIN;
UPDATE ahead SET n = 0, filler = repeat('r', 300);
INSERT INTO ahead SELECT i, i, repeat('x', 100) FROM generate_series(100001, 120000) i;
ROLLBACK;
SELECT * FROM ahead_sums();

-- Nor what a failed transaction sent.
BEGIN;
INSERT INTO ahead SELECT i, i, repeat('x', 100) FROM generate_series(100001, 120000) i;
INSERT INTO ahead VALUES (1);
COMMIT;
SELECT * FROM ahead_sums();

-- A new table's rows and an old one's take turns.
BEGIN;
INSERT INTO ahead SELECT i, i, repeat('x', 100) FROM generate_series(100001, 110000) i;
CREATE TABLE ahead_copy USING concord AS SELECT * FROM ahead;
UPDATE ahead SET n = 1 WHERE id > 100000;
CREATE INDEX ON ahead_copy(n);
TRUNCATE ahead;
INSERT INTO ahead SELECT i, 2, repeat('w', 100) FROM generate_series(1, 12000) i;
COMMIT;
SELECT * FROM ahead_sums();
SELECT count(*), sum(id) FROM ahead_copy;
DROP TABLE ahead, ahead_copy CASCADE;
DROP FUNCTION ahead_sums;
