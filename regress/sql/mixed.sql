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
-- foreign keys between the two kinds could not be enforced
CREATE TABLE mi_pk_c (a int PRIMARY KEY);
CREATE TABLE mi_pk_h (a int PRIMARY KEY) USING heap;
CREATE TABLE mi_fk (a int REFERENCES mi_pk_h);
CREATE TABLE mi_fk (a int REFERENCES mi_pk_c) USING heap;
CREATE TABLE mi_fk (a int, parent int REFERENCES mi_pk_c);
ALTER TABLE mi_fk ADD FOREIGN KEY (a) REFERENCES mi_pk_h;
ALTER TABLE mi_fk ADD FOREIGN KEY (a) REFERENCES mi_pk_h NOT VALID;
ALTER TABLE mi_fk SET ACCESS METHOD heap;
ALTER TABLE mi_pk_c SET ACCESS METHOD heap;
CREATE TABLE mi_part (a int REFERENCES mi_pk_c) PARTITION BY LIST (a);
CREATE TABLE mi_part_c PARTITION OF mi_part FOR VALUES IN (1);
CREATE TABLE mi_part_h PARTITION OF mi_part FOR VALUES IN (2) USING heap;
CREATE TABLE mi_part_h (a int) USING heap;
ALTER TABLE mi_part ATTACH PARTITION mi_part_h FOR VALUES IN (2);
CREATE TEMP TABLE mi_temp_pk (a int PRIMARY KEY);
CREATE TEMP TABLE mi_temp_fk (a int REFERENCES mi_temp_pk);
SET concord.allow_mixed_writes = on;
ALTER TABLE mi_fk ADD FOREIGN KEY (a) REFERENCES mi_pk_h;
INSERT INTO mi_fk VALUES (1);
RESET concord.allow_mixed_writes;
DROP TABLE mi_fk, mi_part, mi_part_h, mi_pk_c, mi_pk_h, mi_temp_fk, mi_temp_pk;
DROP TABLE mi_c, mi_h, mi_temp;
