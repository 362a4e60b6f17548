-- Every kind of object that a table can have or be part of, with rows. Tables are of the default access method, but where it says heap.
CREATE SCHEMA other;
CREATE DOMAIN other.positive AS int CHECK (VALUE > 0);
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE TYPE pair AS (x int, y text);
CREATE SEQUENCE other.numbers START 50 INCREMENT 5;
CREATE FUNCTION say() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.note := coalesce(NEW.note, '') || ' said'; RETURN NEW; END $$;
CREATE FUNCTION doubled(int) RETURNS int LANGUAGE sql IMMUTABLE RETURN $1 * 2;

CREATE TABLE owner (
  id int GENERATED ALWAYS AS IDENTITY (START 10) PRIMARY KEY,
  name text COLLATE "C" NOT NULL UNIQUE,
  born date CHECK (born > '1900-01-01'),
  feels mood DEFAULT 'ok',
  note text);
COMMENT ON TABLE owner IS 'who owns';
COMMENT ON COLUMN owner.born IS 'a day';
COMMENT ON CONSTRAINT owner_name_key ON owner IS 'a constraint';
CREATE INDEX owner_expr ON owner (lower(name) text_pattern_ops, born DESC NULLS LAST) INCLUDE (feels) WHERE feels <> 'sad';
COMMENT ON INDEX owner_expr IS 'an index';
ALTER INDEX owner_expr ALTER COLUMN 1 SET STATISTICS 300;
CREATE TRIGGER say BEFORE INSERT OR UPDATE OF note ON owner FOR EACH ROW EXECUTE FUNCTION say();
CREATE STATISTICS owner_stat (ndistinct, dependencies) ON born, feels FROM owner;
INSERT INTO owner (name, born, feels) SELECT 'owner ' || g, date '2000-01-01' + g, (ARRAY['sad', 'ok', 'happy']::mood[])[g % 3 + 1] FROM generate_series(1, 500) g;

CREATE TABLE other.account (
  number bigint DEFAULT nextval('other.numbers') PRIMARY KEY,
  owner int REFERENCES owner ON DELETE CASCADE ON UPDATE CASCADE DEFERRABLE INITIALLY DEFERRED,
  amount numeric(12, 2) NOT NULL DEFAULT 0,
  level other.positive,
  tags text[],
  at pair,
  doc jsonb,
  span tstzrange,
  raw bytea,
  twice numeric GENERATED ALWAYS AS (amount * 2) STORED,
  serial_no serial,
  dropped int,
  CONSTRAINT big CHECK (amount < 1e9) NO INHERIT,
  EXCLUDE USING btree (serial_no WITH =)) WITH (fillfactor = 80, autovacuum_enabled = off);
ALTER TABLE other.account DROP COLUMN dropped;
ALTER SEQUENCE other.numbers OWNED BY other.account.number;
ALTER TABLE other.account ADD CONSTRAINT unchecked CHECK (level < 100) NOT VALID;
ALTER TABLE other.account ADD CONSTRAINT later UNIQUE (owner, number) DEFERRABLE;
ALTER TABLE other.account ALTER COLUMN doc SET STORAGE EXTERNAL, ALTER COLUMN tags SET STATISTICS 50, ALTER COLUMN amount SET (n_distinct = 5);
ALTER TABLE other.account CLUSTER ON account_pkey;
ALTER TABLE other.account REPLICA IDENTITY USING INDEX account_pkey;
INSERT INTO other.account (owner, amount, level, tags, at, doc, span, raw)
  SELECT 10 + g % 500, g, g % 50 + 1, ARRAY[g::text, NULL, 'a"b,c\'], ROW (g, E'line\nbreak\t' || g)::pair, jsonb_build_object('n', g, 'l', jsonb_build_array(g, NULL)),
    tstzrange('2024-01-01', timestamptz '2024-01-01' + g * interval '1 hour'), decode(md5(g::text), 'hex')
  FROM generate_series(1, 3000) g;
UPDATE other.account SET amount = amount + 0.5 WHERE number % 7 = 0;
DELETE FROM other.account WHERE number % 11 = 0;

CREATE TABLE event (id bigint, day date NOT NULL, kind text, v int, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE event_q1 PARTITION OF event FOR VALUES FROM ('2024-01-01') TO ('2024-04-01');
CREATE TABLE event_q2 PARTITION OF event (v DEFAULT 7, CONSTRAINT event_v CHECK (v > 0)) FOR VALUES FROM ('2024-04-01') TO ('2024-07-01') PARTITION BY HASH (id);
CREATE TABLE event_q2_0 PARTITION OF event_q2 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE event_q2_1 (kind text, day date NOT NULL, gone int, v int DEFAULT 7, id bigint NOT NULL, CONSTRAINT event_v CHECK (v > 0));
ALTER TABLE event_q2_1 DROP COLUMN gone;
ALTER TABLE event_q2 ATTACH PARTITION event_q2_1 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE event_rest PARTITION OF event DEFAULT;
CREATE INDEX event_kind ON event (kind) WHERE v > 1;
CREATE INDEX event_alone ON event_q1 (v);
CREATE UNIQUE INDEX event_only ON ONLY event (day, id);
CREATE TRIGGER part_say AFTER INSERT ON event FOR EACH ROW WHEN (new.v < 0) EXECUTE FUNCTION say();
ALTER TABLE event ADD CONSTRAINT event_kind_check CHECK (kind <> 'none');
INSERT INTO event SELECT g, date '2024-01-01' + g % 300, 'k' || g % 5, g FROM generate_series(1, 1500) g;
CREATE TABLE event_ref (id bigint, day date, FOREIGN KEY (id, day) REFERENCES event ON DELETE SET NULL);
INSERT INTO event_ref SELECT id, day FROM event WHERE id % 10 = 0;

CREATE TABLE parent (a int, b text DEFAULT 'p', CHECK (a > 0));
CREATE TABLE child (c int) INHERITS (parent);
ALTER TABLE child ALTER COLUMN b SET DEFAULT 'c';
INSERT INTO parent VALUES (1);
INSERT INTO child (a, c) VALUES (2, 3);
CREATE TABLE typed OF pair (x PRIMARY KEY, y WITH OPTIONS DEFAULT 'typed');
INSERT INTO typed VALUES (1, 'one'), (2, DEFAULT);
CREATE TABLE "Odd ""name""" ("select" int PRIMARY KEY, "Ünï" text);
INSERT INTO "Odd ""name""" VALUES (1, E'\\.'), (2, '\N'), (3, NULL);
CREATE TABLE nothing ();
INSERT INTO nothing DEFAULT VALUES;
CREATE TABLE on_heap (id int PRIMARY KEY, doc jsonb) USING heap;
CREATE INDEX on_heap_doc ON on_heap USING gin (doc);
INSERT INTO on_heap SELECT g, jsonb_build_object('n', g) FROM generate_series(1, 100) g;

CREATE VIEW v AS SELECT o.id, o.name, sum(a.amount) AS total FROM owner o LEFT JOIN other.account a ON a.owner = o.id GROUP BY o.id;
CREATE VIEW checked WITH (security_barrier) AS SELECT * FROM parent WHERE a < 100 WITH CASCADED CHECK OPTION;
CREATE MATERIALIZED VIEW mv AS SELECT feels, count(*) AS n FROM owner GROUP BY feels;
CREATE UNIQUE INDEX mv_feels ON mv (feels);
CREATE MATERIALIZED VIEW mv_empty AS SELECT * FROM mv WITH NO DATA;
CREATE MATERIALIZED VIEW mv_heap USING heap AS SELECT * FROM mv;
CREATE RULE no_delete AS ON DELETE TO typed DO INSTEAD NOTHING;
CREATE RULE log_update AS ON UPDATE TO typed WHERE old.y <> new.y DO ALSO INSERT INTO parent VALUES (old.x, new.y);
ALTER TABLE typed ENABLE ALWAYS RULE no_delete;
ALTER TABLE owner DISABLE TRIGGER say;
ALTER TABLE owner ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON owner AS PERMISSIVE FOR ALL TO dump_reader USING (name = current_user) WITH CHECK (true);
GRANT SELECT, UPDATE (note) ON owner TO dump_reader;
GRANT ALL ON other.account TO dump_reader WITH GRANT OPTION;
ALTER TABLE parent OWNER TO dump_reader;
ALTER DEFAULT PRIVILEGES IN SCHEMA other GRANT SELECT ON TABLES TO dump_reader;
