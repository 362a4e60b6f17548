-- INSERT ... ON CONFLICT in all its forms.
CREATE TABLE oc_t (id int PRIMARY KEY, k text, v int, live bool DEFAULT true, UNIQUE (k, v));
CREATE UNIQUE INDEX oc_lower ON oc_t (lower(k)) WHERE live;
CREATE UNIQUE INDEX oc_sum ON oc_t ((id + v));
INSERT INTO oc_t VALUES (1, 'One', 10), (2, 'Two', 20), (3, 'Three', 30);
-- without a target, by columns, by name, by expression and predicate
INSERT INTO oc_t VALUES (1, 'x', 1) ON CONFLICT DO NOTHING;
INSERT INTO oc_t VALUES (9, 'ONE', 99), (4, 'Four', 40) ON CONFLICT DO NOTHING RETURNING *;
INSERT INTO oc_t VALUES (1, 'x', 1) ON CONFLICT (id) DO UPDATE SET v = oc_t.v + excluded.v RETURNING *;
INSERT INTO oc_t VALUES (1, 'x', 1) ON CONFLICT ON CONSTRAINT oc_t_pkey DO UPDATE SET v = excluded.v + oc_t.v RETURNING *;
INSERT INTO oc_t VALUES (10, 'TWO', 500) ON CONFLICT (lower(k)) WHERE live DO UPDATE SET v = 21 RETURNING *;
INSERT INTO oc_t VALUES (20, 'sum', 13) ON CONFLICT ((id + v)) DO UPDATE SET k = excluded.k || oc_t.k RETURNING *;
INSERT INTO oc_t VALUES (30, 'Four', 40) ON CONFLICT (k, v) DO UPDATE SET id = 44 RETURNING *;
-- another unique index than the arbiter
INSERT INTO oc_t VALUES (50, 'FOUR', 1) ON CONFLICT (id) DO NOTHING;
INSERT INTO oc_t VALUES (44, 'x', 1) ON CONFLICT (id) DO UPDATE SET id = 2;
-- no such arbiter
INSERT INTO oc_t VALUES (1, 'x', 1) ON CONFLICT (v) DO NOTHING;
INSERT INTO oc_t VALUES (1, 'x', 1) ON CONFLICT (lower(k)) DO NOTHING;
INSERT INTO oc_t VALUES (1, 'x', 1) ON CONFLICT ON CONSTRAINT nothere DO NOTHING;
-- twice the same row
INSERT INTO oc_t VALUES (60, 'a', 1), (60, 'b', 2) ON CONFLICT (id) DO UPDATE SET k = excluded.k;
INSERT INTO oc_t VALUES (60, 'a', 1), (60, 'b', 2) ON CONFLICT (id) DO NOTHING RETURNING *;
-- WHERE of the update; a row that is not updated is locked and not returned
INSERT INTO oc_t VALUES (60, 'c', 3), (61, 'd', 4) ON CONFLICT (id) DO UPDATE SET k = 'new' WHERE oc_t.v > 100 RETURNING *;
INSERT INTO oc_t AS o VALUES (60, 'c', 3) ON CONFLICT (id) DO UPDATE SET k = 'via ' || o.k WHERE excluded.v = 3 RETURNING o.*;
-- row and sub-select in SET, DEFAULT
INSERT INTO oc_t VALUES (60, 'e', 5) ON CONFLICT (id) DO UPDATE SET (k, v) = ROW (excluded.k, oc_t.v + 100), live = DEFAULT RETURNING *;
INSERT INTO oc_t VALUES (60, 'f', 5) ON CONFLICT (id) DO UPDATE SET (k, v) = (SELECT 'sub', count(*) FROM oc_t i WHERE i.id < oc_t.id) RETURNING *;
-- from a SELECT, in a CTE, prepared, and in PL/pgSQL
INSERT INTO oc_t SELECT id, k, v + 1 FROM oc_t ORDER BY id + v DESC ON CONFLICT (id) DO UPDATE SET v = excluded.v;
WITH up AS (INSERT INTO oc_t VALUES (60, 'cte', 1), (62, 'cte2', 2) ON CONFLICT (id) DO UPDATE SET k = excluded.k RETURNING id, k)
  SELECT * FROM up ORDER BY id;
PREPARE oc_p (int, text) AS INSERT INTO oc_t VALUES ($1, $2, 0) ON CONFLICT (id) DO UPDATE SET k = excluded.k RETURNING id, k;
EXECUTE oc_p (60, 'first');
EXECUTE oc_p (63, 'second');
EXECUTE oc_p (63, 'third');
DO $$
BEGIN
  FOR i IN 58..61 LOOP
    INSERT INTO oc_t VALUES (i, 'loop' || i, i) ON CONFLICT (id) DO UPDATE SET k = oc_t.k || '+';
  END LOOP;
END $$;
SELECT * FROM oc_t ORDER BY id;
-- own rows of the same transaction, and after a savepoint
BEGIN;
INSERT INTO oc_t VALUES (70, 'own', 1);
INSERT INTO oc_t VALUES (70, 'own2', 1) ON CONFLICT (id) DO UPDATE SET v = oc_t.v + 1;
SAVEPOINT s;
DELETE FROM oc_t WHERE id = 70;
INSERT INTO oc_t VALUES (70, 'own3', 5) ON CONFLICT (id) DO UPDATE SET v = -1 RETURNING *;
ROLLBACK TO s;
INSERT INTO oc_t VALUES (70, 'own4', 1) ON CONFLICT (id) DO UPDATE SET v = oc_t.v + 1 RETURNING *;
ROLLBACK;
-- collations and operator classes name the index
CREATE TABLE oc_c (t text COLLATE "C", n int);
CREATE UNIQUE INDEX oc_c_posix ON oc_c (t COLLATE "POSIX" text_pattern_ops);
INSERT INTO oc_c VALUES ('a', 1);
INSERT INTO oc_c VALUES ('a', 2) ON CONFLICT (t) DO UPDATE SET n = excluded.n;
INSERT INTO oc_c VALUES ('a', 3) ON CONFLICT (t COLLATE "POSIX") DO UPDATE SET n = excluded.n;
INSERT INTO oc_c VALUES ('a', 4) ON CONFLICT (t COLLATE "POSIX" text_pattern_ops) DO UPDATE SET n = excluded.n;
INSERT INTO oc_c VALUES ('a', 5) ON CONFLICT (t COLLATE "C") DO UPDATE SET n = excluded.n;
INSERT INTO oc_c VALUES ('a', 5) ON CONFLICT (t text_ops) DO UPDATE SET n = excluded.n;
SELECT * FROM oc_c;
-- triggers see both halves
CREATE FUNCTION oc_say() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE NOTICE '% % % old %, new %', TG_WHEN, TG_OP, TG_LEVEL, CASE WHEN TG_OP = 'UPDATE' THEN OLD.v END, CASE WHEN TG_LEVEL = 'ROW' THEN NEW.v END;
  IF TG_LEVEL = 'ROW' AND TG_WHEN = 'BEFORE' AND NEW.v < 0 THEN RETURN NULL; END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER b BEFORE INSERT OR UPDATE ON oc_t FOR EACH ROW EXECUTE FUNCTION oc_say();
CREATE TRIGGER a AFTER INSERT OR UPDATE ON oc_t FOR EACH ROW EXECUTE FUNCTION oc_say();
CREATE FUNCTION oc_say_statement() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE NOTICE '% % %', TG_WHEN, TG_OP, TG_LEVEL; RETURN NULL; END $$;
CREATE TRIGGER bs BEFORE INSERT OR UPDATE ON oc_t FOR EACH STATEMENT EXECUTE FUNCTION oc_say_statement();
CREATE TRIGGER afs AFTER INSERT OR UPDATE ON oc_t FOR EACH STATEMENT EXECUTE FUNCTION oc_say_statement();
INSERT INTO oc_t VALUES (80, 'trig', 1), (1, 'trig1', 2) ON CONFLICT (id) DO UPDATE SET v = -oc_t.v RETURNING id, v;
INSERT INTO oc_t VALUES (81, 'trig2', -5) ON CONFLICT (id) DO UPDATE SET v = 0 RETURNING id, v;
INSERT INTO oc_t VALUES (80, 'trig3', 7) ON CONFLICT (id) DO UPDATE SET v = excluded.v RETURNING id, v;
-- deferrable constraints are no arbiters; foreign keys are checked
CREATE TABLE oc_d (k int UNIQUE DEFERRABLE, t int REFERENCES oc_t);
INSERT INTO oc_d VALUES (1, 1) ON CONFLICT (k) DO NOTHING;
INSERT INTO oc_d VALUES (1, 1) ON CONFLICT DO NOTHING;
INSERT INTO oc_d VALUES (1, 1) ON CONFLICT DO NOTHING;
CREATE TABLE oc_f (k int UNIQUE, t int REFERENCES oc_t);
INSERT INTO oc_f VALUES (1, 1) ON CONFLICT (k) DO UPDATE SET t = 12345;
INSERT INTO oc_f VALUES (1, 1) ON CONFLICT (k) DO UPDATE SET t = 12345;
-- NULLs do not conflict, unless they are not distinct
CREATE TABLE oc_n (a int UNIQUE, b int UNIQUE NULLS NOT DISTINCT, c int);
INSERT INTO oc_n VALUES (NULL, NULL, 1);
INSERT INTO oc_n VALUES (NULL, 2, 2) ON CONFLICT (a) DO UPDATE SET c = -1 RETURNING *;
INSERT INTO oc_n VALUES (NULL, NULL, 3) ON CONFLICT (b) DO UPDATE SET c = excluded.c RETURNING *;
-- exclusion constraints can only do nothing
CREATE TABLE oc_x (a int, EXCLUDE USING btree (a WITH =));
INSERT INTO oc_x VALUES (1);
INSERT INTO oc_x VALUES (1) ON CONFLICT DO NOTHING RETURNING *;
INSERT INTO oc_x VALUES (1) ON CONFLICT ON CONSTRAINT oc_x_a_excl DO NOTHING RETURNING *;
INSERT INTO oc_x VALUES (1) ON CONFLICT ON CONSTRAINT oc_x_a_excl DO UPDATE SET a = 2;
-- through a partitioned table, whose partitions have their columns in another order
CREATE TABLE oc_p (id int, region text, v int, PRIMARY KEY (region, id)) PARTITION BY LIST (region);
CREATE TABLE oc_p_eu PARTITION OF oc_p FOR VALUES IN ('eu');
CREATE TABLE oc_p_us (dropped int, v int, region text NOT NULL, id int NOT NULL);
ALTER TABLE oc_p_us DROP COLUMN dropped;
ALTER TABLE oc_p ATTACH PARTITION oc_p_us FOR VALUES IN ('us');
CREATE TABLE oc_p_rest PARTITION OF oc_p DEFAULT PARTITION BY HASH (id);
CREATE TABLE oc_p_rest0 PARTITION OF oc_p_rest FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE oc_p_rest1 PARTITION OF oc_p_rest FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO oc_p SELECT g, r, g FROM generate_series(1, 3) g, unnest('{eu,us,asia,africa}'::text[]) r
  ON CONFLICT (region, id) DO NOTHING;
INSERT INTO oc_p SELECT g, r, g * 100 FROM generate_series(2, 4) g, unnest('{eu,us,asia,africa}'::text[]) r
  ON CONFLICT (region, id) DO UPDATE SET v = oc_p.v + excluded.v WHERE oc_p.v < 3;
SELECT tableoid::regclass, * FROM oc_p ORDER BY region, id;
INSERT INTO oc_p VALUES (1, 'eu', 0) ON CONFLICT (region, id) DO UPDATE SET region = 'us';
INSERT INTO oc_p VALUES (1, 'us', 0), (9, 'us', 9) ON CONFLICT ON CONSTRAINT oc_p_pkey DO UPDATE SET v = -1 RETURNING tableoid::regclass, *;
INSERT INTO oc_p_us (id, region, v) VALUES (1, 'us', 0) ON CONFLICT (id, region) DO UPDATE SET v = excluded.v RETURNING *;
DROP TABLE oc_d, oc_f, oc_t, oc_c, oc_n, oc_x, oc_p;
DROP FUNCTION oc_say(), oc_say_statement();
