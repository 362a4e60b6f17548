-- PRIMARY KEY, UNIQUE in all forms, CHECK, exclusion by =.
CREATE TABLE co_t (a int PRIMARY KEY, b int UNIQUE, c int, d int, UNIQUE (c, d));
INSERT INTO co_t VALUES (1, 1, 1, 1), (2, NULL, 1, NULL), (3, NULL, 1, NULL);
INSERT INTO co_t VALUES (1, 5, 5, 5);
INSERT INTO co_t VALUES (5, 1, 5, 5);
INSERT INTO co_t VALUES (5, 5, 1, 1);
INSERT INTO co_t VALUES (NULL, 5, 1, 1);
INSERT INTO co_t VALUES (5, 5, 5, 5), (5, 6, 6, 6);
SELECT * FROM co_t ORDER BY a;
UPDATE co_t SET a = 2 WHERE a = 1;
UPDATE co_t SET a = a WHERE a = 1;
-- delete and insert the same key in one transaction
BEGIN;
DELETE FROM co_t WHERE a = 1;
INSERT INTO co_t VALUES (1, 1, 1, 1);
DELETE FROM co_t WHERE a = 1;
INSERT INTO co_t VALUES (1, 9, 9, 9);
COMMIT;
SELECT * FROM co_t ORDER BY a;
-- deferrable
CREATE TABLE co_d (k int UNIQUE DEFERRABLE INITIALLY DEFERRED, v text);
INSERT INTO co_d VALUES (1, 'a'), (2, 'b'), (3, 'c');
UPDATE co_d SET k = k + 1;
SELECT * FROM co_d ORDER BY k;
BEGIN;
INSERT INTO co_d VALUES (2, 'dup');
SELECT count(*) FROM co_d WHERE k = 2;
DELETE FROM co_d WHERE v = 'dup';
COMMIT;
BEGIN;
INSERT INTO co_d VALUES (2, 'dup');
COMMIT;
SELECT * FROM co_d ORDER BY k;
CREATE TABLE co_i (k int UNIQUE DEFERRABLE INITIALLY IMMEDIATE);
INSERT INTO co_i VALUES (1), (2), (3);
UPDATE co_i SET k = k + 1;
UPDATE co_i SET k = 3 WHERE k = 2;
SELECT * FROM co_i ORDER BY 1;
-- nulls not distinct, unique index on expression, partial unique
CREATE TABLE co_n (k int UNIQUE NULLS NOT DISTINCT);
INSERT INTO co_n VALUES (NULL);
INSERT INTO co_n VALUES (NULL);
CREATE TABLE co_e (t text, live bool);
CREATE UNIQUE INDEX co_e_lower ON co_e (lower(t));
CREATE UNIQUE INDEX co_e_live ON co_e (t) WHERE live;
INSERT INTO co_e VALUES ('Ab', true);
INSERT INTO co_e VALUES ('aB', false);
DELETE FROM co_e;
DROP INDEX co_e_lower;
INSERT INTO co_e VALUES ('x', false), ('x', false), ('x', true);
INSERT INTO co_e VALUES ('x', true);
UPDATE co_e SET live = true;
-- a unique index on data that is not unique
CREATE TABLE co_x AS SELECT g % 19 AS v FROM generate_series(0, 19) g;
CREATE UNIQUE INDEX co_x_v ON co_x (v);
-- existing index as constraint; exclusion
CREATE TABLE co_y (a int NOT NULL, b int);
CREATE UNIQUE INDEX co_y_i ON co_y (a);
ALTER TABLE co_y ADD CONSTRAINT co_y_pk PRIMARY KEY USING INDEX co_y_i;
INSERT INTO co_y VALUES (1, 1);
INSERT INTO co_y VALUES (1, 1);
ALTER TABLE co_y ADD CONSTRAINT co_y_ex EXCLUDE USING btree (b WITH =);
INSERT INTO co_y VALUES (2, 1);
ALTER TABLE co_y ADD CHECK (b < 10);
INSERT INTO co_y VALUES (3, 11);
\d co_y
DROP TABLE co_t, co_d, co_i, co_n, co_e, co_x, co_y;
