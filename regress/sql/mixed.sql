-- Concord and heap tables in one transaction: refused before anything is written, unless allowed.
CREATE TABLE mi_c (a int);
CREATE TABLE mi_h (a int) USING heap;
CREATE TEMP TABLE mi_temp (a int);
BEGIN;
INSERT INTO mi_c VALUES (1);
INSERT INTO mi_temp VALUES (1);
INSERT INTO mi_h VALUES (1);
ROLLBACK;
BEGIN;
INSERT INTO mi_h VALUES (1);
INSERT INTO mi_c VALUES (1);
ROLLBACK;
BEGIN;
INSERT INTO mi_c VALUES (1);
COPY mi_h FROM stdin;
1
\.
ROLLBACK;
WITH x AS (INSERT INTO mi_c VALUES (1) RETURNING a) INSERT INTO mi_h SELECT a FROM x;
-- reading both, and a rolled back savepoint, are fine
BEGIN;
SAVEPOINT s;
INSERT INTO mi_h VALUES (5);
ROLLBACK TO s;
INSERT INTO mi_c SELECT 2 FROM (SELECT count(*) FROM mi_h) x;
COMMIT;
SET concord.allow_mixed_writes = on;
BEGIN;
INSERT INTO mi_h VALUES (3);
INSERT INTO mi_c VALUES (3);
COMMIT;
RESET concord.allow_mixed_writes;
SELECT 'c', a FROM mi_c UNION ALL SELECT 'h', a FROM mi_h ORDER BY 1, 2;
DROP TABLE mi_c, mi_h, mi_temp;
