-- xmin, xmax and the length of a tuple, as applications and triggers use them. Made by heap.
CREATE TABLE doc (id int PRIMARY KEY, body text, n int);

-- Whoever has been shown a row's xmin finds it again after the commit, until somebody changes the row.
INSERT INTO doc VALUES (1, 'one', 0) RETURNING xmin AS shown \gset
SELECT xmin = :'shown' AS unchanged FROM doc;
UPDATE doc SET n = n + 1 WHERE id = 1 AND xmin = :'shown' RETURNING n, xmin AS next \gset
UPDATE doc SET n = n + 1 WHERE id = 1 AND xmin = :'shown' RETURNING n;
SELECT n, xmin = :'next' AS unchanged FROM doc;

-- A version that was read tells whether it is still the one.
SELECT xmin AS read FROM doc \gset
UPDATE doc SET body = 'changed';
SELECT xmin = :'read' AS unchanged FROM doc;
SELECT xmin AS read FROM doc \gset
SELECT xmin = :'read' AS unchanged FROM doc;
UPDATE doc SET n = n WHERE xmin = :'read';
SELECT xmin = :'read' AS unchanged FROM doc;

-- Own rows are the transaction's, whenever it is asked.
BEGIN;
INSERT INTO doc VALUES (2, 'two', 0), (3, 'three', 0);
SELECT id, xmin = pg_current_xact_id()::xid AS own, xmax FROM doc WHERE id > 1 ORDER BY id;
UPDATE doc SET n = 7 WHERE id = 2 RETURNING xmin AS shown \gset
COMMIT;
SELECT id, xmin = :'shown' AS shown FROM doc ORDER BY id;

-- One transaction, one xmin; a subtransaction has its own.
BEGIN;
INSERT INTO doc VALUES (4, 'four', 0);
SAVEPOINT s;
INSERT INTO doc VALUES (5, 'five', 0);
RELEASE s;
INSERT INTO doc VALUES (6, 'six', 0);
COMMIT;
INSERT INTO doc VALUES (7, 'seven', 0);
SELECT a.id, b.id, a.xmin = b.xmin AS together FROM doc a JOIN doc b ON a.id < b.id
  WHERE a.id >= 4 ORDER BY a.id, b.id;

-- Rows keep it through a rewrite that writes no new versions.
SELECT xmin AS read FROM doc WHERE id = 7 \gset
VACUUM FULL doc;
SELECT xmin = :'read' AS unchanged FROM doc WHERE id = 7;
ALTER TABLE doc DROP COLUMN body;
VACUUM FULL doc;
SELECT xmin = :'read' AS unchanged FROM doc WHERE id = 7;

-- xmax tells an update from an insert in ON CONFLICT, and what the command has deleted.
INSERT INTO doc VALUES (7, 70), (8, 80) ON CONFLICT (id) DO UPDATE SET n = excluded.n
  RETURNING id, n, xmax = 0 AS inserted, xmax = pg_current_xact_id()::xid AS updated;
BEGIN;
INSERT INTO doc VALUES (9, 90);
INSERT INTO doc VALUES (9, 91) ON CONFLICT (id) DO UPDATE SET n = excluded.n
  RETURNING id, n, xmax = 0 AS inserted, xmax = pg_current_xact_id()::xid AS updated;
COMMIT;
UPDATE doc SET n = n + 1 WHERE id > 7 RETURNING id, n, xmax;
DELETE FROM doc WHERE id > 7 RETURNING id, xmax = pg_current_xact_id()::xid AS deleted;
SELECT id, xmax FROM doc WHERE id < 7 ORDER BY id;

-- Rows of every length, with and without NULLs: an update that changes nothing is suppressed.
CREATE TABLE same (id int, t text, n int);
INSERT INTO same SELECT i, repeat('x', i), CASE WHEN i % 2 = 0 THEN i END FROM generate_series(0, 20) i;
CREATE TRIGGER quiet BEFORE UPDATE ON same FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
WITH u AS (UPDATE same SET t = t RETURNING 1) SELECT count(*) FROM u;
WITH u AS (UPDATE same SET t = t || 'y' WHERE id < 10 RETURNING 1) SELECT count(*) FROM u;
BEGIN;
WITH u AS (UPDATE same SET n = 1 WHERE id < 5 RETURNING 1) SELECT count(*) FROM u;
WITH u AS (UPDATE same SET n = 1 WHERE id < 7 RETURNING 1) SELECT count(*) FROM u;
COMMIT;
SELECT sum(pg_column_size(same)) FROM same;
DROP TABLE doc, same;
