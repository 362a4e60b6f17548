-- MERGE, RETURNING, and statements that write inside of WITH.
CREATE TABLE mg_t (id int PRIMARY KEY, v int, w text DEFAULT 'dflt');
CREATE TABLE mg_s (id int, v int);
INSERT INTO mg_t SELECT g, g * 10 FROM generate_series(1, 5) g;
INSERT INTO mg_s VALUES (2, 1), (3, 2), (4, 3), (7, 4), (8, 5);
MERGE INTO mg_t t USING mg_s s ON t.id = s.id
  WHEN MATCHED AND s.v = 1 THEN DELETE
  WHEN MATCHED AND s.v = 2 THEN DO NOTHING
  WHEN MATCHED THEN UPDATE SET v = t.v + s.v, w = 'updated'
  WHEN NOT MATCHED AND s.v = 4 THEN INSERT (id, v) VALUES (s.id, s.v)
  WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.v, DEFAULT);
SELECT * FROM mg_t ORDER BY id;
-- a source row too many
MERGE INTO mg_t t USING (SELECT 1 AS id UNION ALL SELECT 1) s ON t.id = s.id WHEN MATCHED THEN UPDATE SET v = 0;
MERGE INTO mg_t t USING (SELECT 1 AS id UNION ALL SELECT 1) s ON t.id = s.id WHEN MATCHED THEN DELETE;
MERGE INTO mg_t t USING (VALUES (90, 1), (90, 2)) s (id, v) ON t.id = s.id WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.v);
-- twice in one transaction, with a savepoint, on own rows
BEGIN;
MERGE INTO mg_t t USING (VALUES (1), (20)) s (id) ON t.id = s.id
  WHEN MATCHED THEN UPDATE SET v = v + 1 WHEN NOT MATCHED THEN INSERT VALUES (s.id, 0);
SAVEPOINT s;
MERGE INTO mg_t t USING (VALUES (1), (20)) s (id) ON t.id = s.id WHEN MATCHED THEN DELETE;
ROLLBACK TO s;
MERGE INTO mg_t t USING (VALUES (1), (20)) s (id) ON t.id = s.id WHEN MATCHED THEN UPDATE SET v = v + 1;
SELECT * FROM mg_t WHERE id IN (1, 20) ORDER BY id;
ROLLBACK;
-- triggers
CREATE FUNCTION mg_say() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE NOTICE '% % % old %, new %', TG_WHEN, TG_OP, TG_LEVEL,
    CASE WHEN TG_LEVEL = 'ROW' AND TG_OP <> 'INSERT' THEN OLD.v END, CASE WHEN TG_LEVEL = 'ROW' AND TG_OP <> 'DELETE' THEN NEW.v END;
  RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
END $$;
CREATE TRIGGER b BEFORE INSERT OR UPDATE OR DELETE ON mg_t FOR EACH ROW EXECUTE FUNCTION mg_say();
CREATE TRIGGER a AFTER INSERT OR UPDATE OR DELETE ON mg_t FOR EACH ROW EXECUTE FUNCTION mg_say();
CREATE TRIGGER s AFTER INSERT OR UPDATE OR DELETE ON mg_t FOR EACH STATEMENT EXECUTE FUNCTION mg_say();
MERGE INTO mg_t t USING (VALUES (1, 7), (3, -1), (30, 30)) s (id, v) ON t.id = s.id
  WHEN MATCHED AND s.v < 0 THEN DELETE WHEN MATCHED THEN UPDATE SET v = s.v WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.v);
DROP TRIGGER b ON mg_t; DROP TRIGGER a ON mg_t; DROP TRIGGER s ON mg_t;
-- into and from a partitioned table, with rows that move
CREATE TABLE mg_p (id int, region text, v int, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
CREATE TABLE mg_p_eu PARTITION OF mg_p FOR VALUES IN ('eu');
CREATE TABLE mg_p_us PARTITION OF mg_p FOR VALUES IN ('us');
INSERT INTO mg_p SELECT g, CASE g % 2 WHEN 0 THEN 'eu' ELSE 'us' END, g FROM generate_series(1, 6) g;
MERGE INTO mg_p p USING mg_t t ON p.id = t.id
  WHEN MATCHED AND p.region = 'eu' THEN UPDATE SET region = 'us', v = p.v + t.v
  WHEN MATCHED AND p.v = 1 THEN DELETE
  WHEN NOT MATCHED THEN INSERT VALUES (t.id, 'eu', t.v);
SELECT tableoid::regclass, * FROM mg_p ORDER BY id;
-- RETURNING
INSERT INTO mg_t (id, v) SELECT g, g FROM generate_series(100, 102) g RETURNING id, v * 2 AS twice, w;
UPDATE mg_t SET v = v + 1 WHERE id >= 100 RETURNING *;
UPDATE mg_t t SET v = s.v FROM mg_s s WHERE s.id + 98 = t.id RETURNING t.*, s.*;
DELETE FROM mg_t USING mg_s s WHERE s.id + 98 = mg_t.id RETURNING mg_t.id, s.v;
UPDATE mg_t SET id = id + 1000 WHERE id > 100 RETURNING id, (SELECT count(*) FROM mg_t i WHERE i.id > 1000) AS not_yet;
-- WITH that writes: all parts see the same snapshot, each row is written once
WITH gone AS (DELETE FROM mg_t WHERE id > 1000 RETURNING *), kept AS (INSERT INTO mg_s SELECT id, v FROM gone RETURNING id)
  SELECT (SELECT count(*) FROM gone) AS gone, (SELECT count(*) FROM kept) AS kept, (SELECT count(*) FROM mg_t WHERE id > 1000) AS still;
WITH up AS (UPDATE mg_t SET v = v + 1 RETURNING id, v) SELECT up.id, up.v - t.v AS more FROM up JOIN mg_t t USING (id) ORDER BY 1;
WITH a AS (UPDATE mg_t SET v = 1 WHERE id = 1), b AS (UPDATE mg_t SET v = 2 WHERE id = 1) SELECT 'one of them';
SELECT v IN (1, 2) AS written FROM mg_t WHERE id = 1;
WITH moved AS (DELETE FROM mg_p WHERE region = 'eu' RETURNING *) INSERT INTO mg_p SELECT id, 'us', v FROM moved RETURNING *;
WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 3), ins AS (INSERT INTO mg_t SELECT 500 + n, n FROM r RETURNING id)
  SELECT count(*), min(id), max(id) FROM ins;
-- one that nobody reads runs to its end
WITH unread AS (INSERT INTO mg_s SELECT g, g FROM generate_series(201, 210) g RETURNING *) SELECT 'unread';
WITH unread AS (INSERT INTO mg_s SELECT g, g FROM generate_series(301, 310) g RETURNING *) SELECT count(*) FROM (SELECT * FROM unread LIMIT 1) x;
SELECT count(*) FROM mg_s WHERE id > 200;
WITH x AS (INSERT INTO mg_t VALUES (1, 1) RETURNING *) SELECT 'never shown';
WITH x AS (SELECT * FROM mg_t WHERE id = 501 FOR UPDATE) UPDATE mg_t t SET v = t.v + 100 FROM x WHERE x.id = t.id RETURNING t.id, t.v;
-- UPDATE and DELETE whose source repeats a row write it once
UPDATE mg_t SET v = mg_t.v + 1 FROM (VALUES (502), (502), (503)) s (id) WHERE s.id = mg_t.id RETURNING mg_t.id, mg_t.v;
DELETE FROM mg_t USING (VALUES (502), (502), (503)) s (id) WHERE s.id = mg_t.id RETURNING mg_t.id;
DROP TABLE mg_t, mg_s, mg_p;
DROP FUNCTION mg_say();
