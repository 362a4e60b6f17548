-- ADD CONSTRAINT USING INDEX in one ALTER TABLE with changes that make the index anew. What is expected is what heap answers.
CREATE TABLE ui (a int NOT NULL, b text NOT NULL, c int);
INSERT INTO ui SELECT i, 'b' || i, i % 10 FROM generate_series(1, 100) i;
CREATE UNIQUE INDEX ui_a ON ui (a);
CREATE UNIQUE INDEX ui_b ON ui (b);
CREATE INDEX ui_c ON ui (c);
-- of its own column
ALTER TABLE ui ADD PRIMARY KEY USING INDEX ui_a, ALTER COLUMN a TYPE bigint;
-- both, another name, and a rewrite for a default
ALTER TABLE ui ADD CONSTRAINT ui_b_key UNIQUE USING INDEX ui_b, ADD COLUMN s serial, ALTER COLUMN b TYPE varchar(20);
SELECT conname, contype, conindid::regclass FROM pg_constraint WHERE conrelid = 'ui'::regclass ORDER BY 1;
INSERT INTO ui VALUES (1, 'x', 1);
INSERT INTO ui VALUES (101, 'b7', 1);
INSERT INTO ui VALUES (101, 'b101', 1);
SELECT count(*), sum(a), max(s) FROM ui;
SET enable_seqscan = off; SET enable_bitmapscan = off;
SELECT * FROM ui WHERE a = 50; SELECT a FROM ui WHERE b = 'b50'; SELECT count(*) FROM ui WHERE c = 3;
RESET enable_seqscan; RESET enable_bitmapscan;
ALTER TABLE ui DROP CONSTRAINT ui_a, DROP CONSTRAINT ui_b_key;
CREATE UNIQUE INDEX ui_1 ON ui (a); CREATE UNIQUE INDEX ui_2 ON ui (b, a);
-- two of them, all types changed with a rewrite
ALTER TABLE ui ADD CONSTRAINT one PRIMARY KEY USING INDEX ui_1, ADD CONSTRAINT two UNIQUE USING INDEX ui_2, ALTER COLUMN a TYPE numeric USING a * 2, ALTER COLUMN b TYPE text USING b || 'x';
SELECT conname, contype, conindid::regclass FROM pg_constraint WHERE conrelid = 'ui'::regclass ORDER BY 1;
INSERT INTO ui VALUES (100, 'x', 1);
INSERT INTO ui (a, b) VALUES (3, 'b50x') ON CONFLICT DO NOTHING;
-- duplicates made by the change
ALTER TABLE ui DROP CONSTRAINT one, DROP CONSTRAINT two;
CREATE UNIQUE INDEX ui_3 ON ui (a);
ALTER TABLE ui ADD PRIMARY KEY USING INDEX ui_3, ALTER COLUMN a TYPE int USING 1;
SELECT count(*), sum(a) FROM ui;
SELECT indexrelid::regclass FROM pg_index WHERE indrelid = 'ui'::regclass ORDER BY 1;
-- not unique
ALTER TABLE ui ADD PRIMARY KEY USING INDEX ui_c, ALTER COLUMN c TYPE bigint;
DROP TABLE ui;
