-- Triggers of all kinds: transition tables, conditions, columns, partitions, constraint triggers, event triggers.
CREATE TABLE ta_t (id int PRIMARY KEY, v int, w text);
CREATE FUNCTION ta_say() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE NOTICE '% % % on % (%): % -> %', TG_WHEN, TG_OP, TG_LEVEL, TG_TABLE_NAME, TG_ARGV[0],
    CASE WHEN TG_LEVEL = 'ROW' AND TG_OP IN ('UPDATE', 'DELETE') THEN OLD END, CASE WHEN TG_LEVEL = 'ROW' AND TG_OP IN ('INSERT', 'UPDATE') THEN NEW END;
  RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
END $$;
CREATE FUNCTION ta_transition() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  line text := TG_OP || ' ' || TG_LEVEL;
BEGIN
  IF TG_OP IN ('UPDATE', 'DELETE') THEN line := line || ' old ' || coalesce((SELECT string_agg(o::text, ' ' ORDER BY o.id) FROM o), '-'); END IF;
  IF TG_OP IN ('UPDATE', 'INSERT') THEN line := line || ' new ' || coalesce((SELECT string_agg(n::text, ' ' ORDER BY n.id) FROM n), '-'); END IF;
  RAISE NOTICE '%', line;
  RETURN NULL;
END $$;
CREATE TRIGGER ti AFTER INSERT ON ta_t REFERENCING NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION ta_transition();
CREATE TRIGGER tu AFTER UPDATE ON ta_t REFERENCING OLD TABLE AS o NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION ta_transition();
CREATE TRIGGER td AFTER DELETE ON ta_t REFERENCING OLD TABLE AS o FOR EACH STATEMENT EXECUTE FUNCTION ta_transition();
CREATE TRIGGER tr AFTER UPDATE ON ta_t REFERENCING OLD TABLE AS o NEW TABLE AS n FOR EACH ROW WHEN (new.v = 999) EXECUTE FUNCTION ta_transition();
INSERT INTO ta_t SELECT g, g * 10, 'w' FROM generate_series(1, 4) g;
UPDATE ta_t SET v = v + 1;
UPDATE ta_t SET v = 999 WHERE id < 3;
UPDATE ta_t SET v = 0 WHERE id > 100;
DELETE FROM ta_t WHERE id = 4;
COPY ta_t FROM stdin;
5	50	copied
6	60	copied
\.
INSERT INTO ta_t VALUES (6, 61, 'c'), (7, 70, 'c') ON CONFLICT (id) DO UPDATE SET v = excluded.v;
MERGE INTO ta_t t USING (VALUES (7), (8), (1)) s (id) ON t.id = s.id
  WHEN MATCHED AND s.id = 1 THEN DELETE WHEN MATCHED THEN UPDATE SET v = 7 WHEN NOT MATCHED THEN INSERT VALUES (s.id, 8, 'm');
WITH x AS (UPDATE ta_t SET v = v + 100 WHERE id = 2 RETURNING id) UPDATE ta_t SET v = v + 100 WHERE id = 3;
-- the same rows changed several times in one transaction: each statement sees its own versions
BEGIN;
UPDATE ta_t SET v = 1 WHERE id = 5;
UPDATE ta_t SET v = 2 WHERE id = 5;
SAVEPOINT s;
UPDATE ta_t SET v = 3 WHERE id = 5;
ROLLBACK TO s;
UPDATE ta_t SET v = 4 WHERE id = 5;
DELETE FROM ta_t WHERE id = 5;
INSERT INTO ta_t VALUES (5, 5, 'again');
COMMIT;
DROP TRIGGER ti ON ta_t; DROP TRIGGER tu ON ta_t; DROP TRIGGER td ON ta_t; DROP TRIGGER tr ON ta_t;
-- conditions and columns; a trigger that changes the row, that refuses it, that writes its own table
CREATE TRIGGER c BEFORE UPDATE OF v ON ta_t FOR EACH ROW WHEN (old.v IS DISTINCT FROM new.v) EXECUTE FUNCTION ta_say('of v');
UPDATE ta_t SET w = 'no' WHERE id = 5;
UPDATE ta_t SET v = v WHERE id = 5;
UPDATE ta_t SET v = v + 1 WHERE id = 5;
CREATE FUNCTION ta_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.v > 5000 THEN RETURN NULL; END IF;
  IF TG_OP = 'INSERT' AND NEW.v > 0 THEN INSERT INTO ta_t VALUES (NEW.id + 1000, -NEW.v, 'child of ' || NEW.id); END IF;
  NEW.w := NEW.w || '!';
  RETURN NEW;
END $$;
CREATE TRIGGER z BEFORE INSERT OR UPDATE ON ta_t FOR EACH ROW EXECUTE FUNCTION ta_change();
INSERT INTO ta_t VALUES (20, 1, 'x'), (21, 6000, 'refused') RETURNING *;
UPDATE ta_t SET v = 6000 WHERE id IN (5, 20);
UPDATE ta_t SET v = 3 WHERE id IN (5, 20) RETURNING *;
SELECT * FROM ta_t ORDER BY id;
-- a BEFORE trigger that updates the row itself
CREATE FUNCTION ta_self() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN UPDATE ta_t SET w = 'self' WHERE id = OLD.id; RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END; END $$;
CREATE TRIGGER y BEFORE UPDATE OR DELETE ON ta_t FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION ta_self();
UPDATE ta_t SET v = 1 WHERE id = 5;
DELETE FROM ta_t WHERE id = 5;
DROP TRIGGER y ON ta_t; DROP TRIGGER z ON ta_t; DROP TRIGGER c ON ta_t;
-- disabled, of replicas only, always; TRUNCATE
CREATE TRIGGER a AFTER DELETE ON ta_t FOR EACH ROW EXECUTE FUNCTION ta_say('a');
CREATE TRIGGER tt BEFORE TRUNCATE ON ta_t FOR EACH STATEMENT EXECUTE FUNCTION ta_say('truncate');
ALTER TABLE ta_t DISABLE TRIGGER a;
DELETE FROM ta_t WHERE id = 20;
ALTER TABLE ta_t ENABLE REPLICA TRIGGER a;
DELETE FROM ta_t WHERE id = 1020;
SET session_replication_role = replica;
DELETE FROM ta_t WHERE id = 8;
RESET session_replication_role;
ALTER TABLE ta_t ENABLE ALWAYS TRIGGER a;
DELETE FROM ta_t WHERE id = 7;
TRUNCATE ta_t;
-- constraint triggers: immediate and deferred, of a table that goes on being changed
CREATE CONSTRAINT TRIGGER ct AFTER INSERT OR UPDATE OR DELETE ON ta_t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION ta_say('deferred');
BEGIN;
INSERT INTO ta_t VALUES (1, 1, 'a');
UPDATE ta_t SET v = 2;
SAVEPOINT s;
UPDATE ta_t SET v = 3;
ROLLBACK TO s;
SET CONSTRAINTS ct IMMEDIATE;
DELETE FROM ta_t;
SET CONSTRAINTS ct DEFERRED;
INSERT INTO ta_t VALUES (2, 2, 'b');
COMMIT;
-- partitions: triggers of the root, transition tables of the root, rows that move
CREATE TABLE ta_p (id int, v int, PRIMARY KEY (id, v)) PARTITION BY RANGE (v);
CREATE TABLE ta_p1 PARTITION OF ta_p FOR VALUES FROM (0) TO (10);
CREATE TABLE ta_p2 (v int NOT NULL, gone text, id int NOT NULL);
ALTER TABLE ta_p2 DROP COLUMN gone;
ALTER TABLE ta_p ATTACH PARTITION ta_p2 FOR VALUES FROM (10) TO (20);
CREATE TRIGGER r BEFORE INSERT OR UPDATE OR DELETE ON ta_p FOR EACH ROW EXECUTE FUNCTION ta_say('root');
CREATE TRIGGER ra AFTER INSERT OR UPDATE OR DELETE ON ta_p FOR EACH ROW EXECUTE FUNCTION ta_say('root');
CREATE TRIGGER tu AFTER UPDATE ON ta_p REFERENCING OLD TABLE AS o NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION ta_transition();
CREATE TRIGGER ti AFTER INSERT ON ta_p REFERENCING NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION ta_transition();
CREATE TRIGGER td AFTER DELETE ON ta_p REFERENCING OLD TABLE AS o FOR EACH STATEMENT EXECUTE FUNCTION ta_transition();
INSERT INTO ta_p VALUES (1, 1), (2, 11);
UPDATE ta_p SET v = v + 10 WHERE id = 1;
UPDATE ta_p SET id = id + 100;
DELETE FROM ta_p WHERE id = 101;
-- event triggers
CREATE FUNCTION ta_event() RETURNS event_trigger LANGUAGE plpgsql AS $$
DECLARE
  o record;
BEGIN
  IF TG_EVENT = 'ddl_command_end' THEN
    FOR o IN SELECT * FROM pg_event_trigger_ddl_commands() LOOP RAISE NOTICE '%: % % %', TG_EVENT, o.command_tag, o.object_type, o.object_identity; END LOOP;
  ELSIF TG_EVENT = 'sql_drop' THEN
    FOR o IN SELECT * FROM pg_event_trigger_dropped_objects() WHERE object_type IN ('table', 'index', 'table constraint') ORDER BY object_identity LOOP
      RAISE NOTICE '%: % % %', TG_EVENT, o.object_type, o.object_identity, o.original; END LOOP;
  ELSE
    RAISE NOTICE '%: %, reason %', TG_EVENT, pg_event_trigger_table_rewrite_oid()::regclass, pg_event_trigger_table_rewrite_reason();
  END IF;
END $$;
CREATE EVENT TRIGGER ta_end ON ddl_command_end EXECUTE FUNCTION ta_event();
CREATE EVENT TRIGGER ta_drop ON sql_drop EXECUTE FUNCTION ta_event();
CREATE EVENT TRIGGER ta_rewrite ON table_rewrite EXECUTE FUNCTION ta_event();
CREATE TABLE ta_e (a int PRIMARY KEY, b int UNIQUE);
CREATE INDEX ta_e_b ON ta_e (b, a);
ALTER TABLE ta_e ADD COLUMN c int DEFAULT 5;
ALTER TABLE ta_e ALTER COLUMN b TYPE bigint, ADD CHECK (a > 0);
ALTER TABLE ta_e DROP CONSTRAINT ta_e_b_key;
CREATE TABLE ta_as AS SELECT * FROM ta_e;
CREATE MATERIALIZED VIEW ta_mv AS SELECT * FROM ta_e;
REFRESH MATERIALIZED VIEW ta_mv;
DROP MATERIALIZED VIEW ta_mv;
DROP TABLE ta_e, ta_as;
DROP EVENT TRIGGER ta_end; DROP EVENT TRIGGER ta_drop; DROP EVENT TRIGGER ta_rewrite;
DROP TABLE ta_t, ta_p;
DROP FUNCTION ta_say(), ta_transition(), ta_change(), ta_self(), ta_event();
