-- INSERT, UPDATE, DELETE, RETURNING, own writes seen by command, values of every shape.
CREATE TABLE dml_t (id int, name text, n numeric, tags text[], doc jsonb);
INSERT INTO dml_t VALUES (1, 'one', 1.10, '{a,b}', '{"k": 1}'), (2, NULL, NULL, '{}', NULL), (3, '', 'NaN', NULL, '[]');
SELECT * FROM dml_t;
UPDATE dml_t SET name = name || '!' WHERE id = 1 RETURNING *;
UPDATE dml_t SET id = id + 10;
SELECT * FROM dml_t ORDER BY id;
DELETE FROM dml_t WHERE id = 12 RETURNING id;
SELECT count(*) FROM dml_t;
-- a command does not see its own inserts
INSERT INTO dml_t SELECT id + 100, name, n, tags, doc FROM dml_t;
SELECT id FROM dml_t ORDER BY id;
-- in one transaction
BEGIN;
INSERT INTO dml_t (id) VALUES (500);
UPDATE dml_t SET name = 'mine' WHERE id = 500;
UPDATE dml_t SET name = name || ' twice' WHERE id = 500;
SELECT id, name FROM dml_t WHERE id >= 500;
DELETE FROM dml_t WHERE id = 500;
SELECT id, name FROM dml_t WHERE id >= 500;
INSERT INTO dml_t (id) VALUES (501);
COMMIT;
SELECT id FROM dml_t ORDER BY id;
BEGIN;
DELETE FROM dml_t;
SELECT count(*) FROM dml_t;
ROLLBACK;
SELECT count(*) FROM dml_t;
-- a large value
INSERT INTO dml_t (id, name) VALUES (600, repeat('x', 300000));
SELECT id, length(name), md5(name) FROM dml_t WHERE id = 600;
UPDATE dml_t SET name = name || 'y' WHERE id = 600;
SELECT length(name), right(name, 3) FROM dml_t WHERE id = 600;
-- updates that join, CTEs that write, MERGE, ON CONFLICT
CREATE TABLE dml_u (id int PRIMARY KEY, v int);
INSERT INTO dml_u SELECT g, g FROM generate_series(1, 10) g;
UPDATE dml_u SET v = v + x.d FROM (VALUES (1, 100), (2, 200)) x(id, d) WHERE dml_u.id = x.id;
WITH gone AS (DELETE FROM dml_u WHERE id > 8 RETURNING *) SELECT sum(v) FROM gone;
WITH new AS (INSERT INTO dml_u VALUES (20, 20) RETURNING id) UPDATE dml_u SET v = 0 WHERE id = 3 RETURNING id, v;
INSERT INTO dml_u VALUES (1, 7), (30, 30) ON CONFLICT (id) DO UPDATE SET v = EXCLUDED.v RETURNING *;
INSERT INTO dml_u VALUES (1, 8), (31, 31) ON CONFLICT DO NOTHING RETURNING *;
INSERT INTO dml_u VALUES (40, 1), (40, 2) ON CONFLICT (id) DO UPDATE SET v = EXCLUDED.v;
MERGE INTO dml_u t USING (VALUES (2, -1), (50, 50)) s(id, v) ON t.id = s.id
  WHEN MATCHED THEN UPDATE SET v = s.v WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.v);
SELECT * FROM dml_u ORDER BY id;
UPDATE dml_u SET id = 1 WHERE id = 2;
SELECT tableoid::regclass FROM dml_u WHERE id = 1;
TRUNCATE dml_u;
SELECT count(*) FROM dml_u;
INSERT INTO dml_u VALUES (1, 1);
BEGIN; TRUNCATE dml_u; INSERT INTO dml_u VALUES (2, 2); SELECT * FROM dml_u; ROLLBACK;
SELECT * FROM dml_u;
DROP TABLE dml_t, dml_u;
