-- What goes beside Concord tables in one transaction: advisory locks, sequences, large objects, temporary tables, foreign tables;
-- savepoints in PL/pgSQL.
CREATE TABLE bs_t (id int PRIMARY KEY, v text);
INSERT INTO bs_t VALUES (1, 'one');
-- advisory locks: of the session and of the transaction
BEGIN;
SELECT pg_advisory_xact_lock(id), pg_advisory_lock(100 + id) FROM bs_t;
INSERT INTO bs_t VALUES (2, 'locked');
SELECT classid, objid, mode FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid() ORDER BY objid;
COMMIT;
SELECT objid FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid();
SELECT pg_advisory_unlock_all();
-- sequences: not rolled back, owned, in defaults
CREATE SEQUENCE bs_seq INCREMENT 5 START 10;
CREATE TABLE bs_s (id int DEFAULT nextval('bs_seq'), v text);
ALTER SEQUENCE bs_seq OWNED BY bs_s.id;
INSERT INTO bs_s (v) VALUES ('a') RETURNING id;
BEGIN;
INSERT INTO bs_s (v) SELECT 'b' FROM generate_series(1, 3) RETURNING id;
ROLLBACK;
INSERT INTO bs_s (v) VALUES ('c') RETURNING id, currval('bs_seq'), lastval();
SELECT setval('bs_seq', 500, false);
BEGIN;
SELECT nextval('bs_seq');
ALTER SEQUENCE bs_seq RESTART WITH 7;
INSERT INTO bs_s (v) VALUES ('d') RETURNING id;
ROLLBACK;
INSERT INTO bs_s (v) VALUES ('e') RETURNING id;
TRUNCATE bs_s RESTART IDENTITY;
INSERT INTO bs_s (v) VALUES ('f') RETURNING id;
DROP TABLE bs_s;
SELECT nextval('bs_seq');
-- large objects
BEGIN;
SELECT lo_from_bytea(123456, 'large') AS lo;
INSERT INTO bs_t VALUES (10, '123456');
COMMIT;
SELECT v, encode(lo_get(v::oid), 'escape') FROM bs_t WHERE id = 10;
BEGIN;
SELECT lo_unlink(v::oid) FROM bs_t WHERE id = 10;
DELETE FROM bs_t WHERE id = 10;
ROLLBACK;
SELECT encode(lo_get(v::oid), 'escape') FROM bs_t WHERE id = 10;
SELECT lo_unlink(123456);
DELETE FROM bs_t WHERE id = 10;
-- temporary tables: joined, written together, with and without their rows at the commit
CREATE TEMP TABLE bs_temp (id int PRIMARY KEY, n int) ON COMMIT DELETE ROWS;
CREATE TEMP TABLE bs_drop ON COMMIT DROP AS SELECT 1 AS a;
BEGIN;
INSERT INTO bs_temp SELECT id, id * 10 FROM bs_t;
UPDATE bs_t SET v = v || n FROM bs_temp WHERE bs_temp.id = bs_t.id RETURNING bs_t.*;
WITH moved AS (DELETE FROM bs_temp RETURNING *) INSERT INTO bs_t SELECT id + 20, n FROM moved;
COMMIT;
SELECT count(*) FROM bs_temp;
SELECT * FROM bs_t ORDER BY id;
CREATE TEMP VIEW bs_view AS SELECT * FROM bs_t WHERE id > 20;
DELETE FROM bs_view WHERE id = 21;
-- savepoints of PL/pgSQL: nested blocks, errors of constraints, found rows, returned queries
CREATE FUNCTION bs_try(first int, last int) RETURNS SETOF bs_t LANGUAGE plpgsql AS $$
DECLARE
  failed int := 0;
  state text;
  what text;
BEGIN
  FOR i IN first..last LOOP
    BEGIN
      INSERT INTO bs_t VALUES (i, 'try ' || i);
      BEGIN
        UPDATE bs_t SET v = v || '!' WHERE id = i;
        IF i % 3 = 0 THEN RAISE EXCEPTION 'third' USING ERRCODE = 'P0003'; END IF;
      EXCEPTION WHEN SQLSTATE 'P0003' THEN
        UPDATE bs_t SET v = v || '?' WHERE id = i;
      END;
    EXCEPTION WHEN unique_violation THEN
      GET STACKED DIAGNOSTICS what = CONSTRAINT_NAME, state = RETURNED_SQLSTATE;
      failed := failed + 1;
    END;
  END LOOP;
  RAISE NOTICE '% failed by %, %', failed, what, state;
  RETURN QUERY SELECT * FROM bs_t WHERE id BETWEEN first AND last ORDER BY id;
  GET DIAGNOSTICS failed = ROW_COUNT;
  RAISE NOTICE '% rows', failed;
END $$;
SELECT * FROM bs_try(1, 6);
SELECT * FROM bs_try(5, 8);
CREATE PROCEDURE bs_proc(INOUT n int) LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO bs_t VALUES (100 + n, 'kept');
  COMMIT;
  INSERT INTO bs_t VALUES (200 + n, 'lost');
  ROLLBACK;
  BEGIN
    INSERT INTO bs_t VALUES (100 + n, 'dup');
  EXCEPTION WHEN unique_violation THEN n := n + 1;
  END;
  COMMIT AND CHAIN;
  INSERT INTO bs_t VALUES (300 + n, 'kept too');
END $$;
CALL bs_proc(1);
SELECT * FROM bs_t WHERE id > 100 ORDER BY id;
-- many savepoints, released and rolled back
BEGIN;
DO $$
BEGIN
  FOR i IN 1..200 LOOP
    BEGIN
      UPDATE bs_t SET v = i::text WHERE id = 1;
      IF i % 2 = 0 THEN RAISE division_by_zero; END IF;
    EXCEPTION WHEN division_by_zero THEN NULL;
    END;
  END LOOP;
END $$;
SELECT v FROM bs_t WHERE id = 1;
SAVEPOINT a;
DELETE FROM bs_t WHERE id > 1;
SAVEPOINT b;
INSERT INTO bs_t VALUES (2, 'b');
RELEASE b;
SAVEPOINT b;
UPDATE bs_t SET v = 'c' WHERE id = 2;
ROLLBACK TO b;
SELECT * FROM bs_t ORDER BY id;
ROLLBACK TO a;
SELECT count(*) FROM bs_t;
COMMIT;
-- foreign tables, from and to Concord tables, through postgres_fdw to this very server
CREATE EXTENSION postgres_fdw;
SELECT current_database() AS db, current_setting('port') AS port, current_setting('unix_socket_directories') AS host \gset
CREATE SERVER bs_server FOREIGN DATA WRAPPER postgres_fdw OPTIONS (dbname :'db', port :'port', host :'host');
CREATE USER MAPPING FOR CURRENT_USER SERVER bs_server;
CREATE TABLE bs_remote (id int PRIMARY KEY, v text);
CREATE FOREIGN TABLE bs_f (id int, v text) SERVER bs_server OPTIONS (table_name 'bs_remote');
INSERT INTO bs_f VALUES (1, 'remote'), (2, 'remote 2') RETURNING *;
UPDATE bs_f SET v = v || '!' WHERE id = 1 RETURNING *;
INSERT INTO bs_f VALUES (1, 'again') ON CONFLICT DO NOTHING;
SELECT f.id, f.v, t.v FROM bs_f f JOIN bs_t t USING (id) ORDER BY 1;
INSERT INTO bs_t SELECT id + 1000, v FROM bs_f;
INSERT INTO bs_f SELECT id, v FROM bs_t WHERE id > 1000;
BEGIN;
DELETE FROM bs_f WHERE id > 1000;
UPDATE bs_t SET v = 'both' WHERE id > 1000;
ROLLBACK;
SELECT count(*) FROM bs_f;
SELECT count(*) FROM bs_t WHERE v = 'both';
IMPORT FOREIGN SCHEMA public LIMIT TO (bs_t) FROM SERVER bs_server INTO pg_temp;
CREATE TABLE bs_p (id int, v text) PARTITION BY RANGE (id);
CREATE TABLE bs_p1 PARTITION OF bs_p FOR VALUES FROM (0) TO (10);
CREATE TABLE bs_far (id int, v text);
CREATE FOREIGN TABLE bs_p2 PARTITION OF bs_p FOR VALUES FROM (10) TO (20) SERVER bs_server OPTIONS (table_name 'bs_far');
INSERT INTO bs_p VALUES (1, 'near'), (11, 'far') RETURNING tableoid::regclass, *;
UPDATE bs_p SET id = id + 10 WHERE id = 1 RETURNING tableoid::regclass, *;
SELECT tableoid::regclass, * FROM bs_p ORDER BY id;
COPY bs_f FROM stdin;
50	copied
\.
SELECT * FROM bs_remote WHERE id = 50;
DROP EXTENSION postgres_fdw CASCADE;
DROP TABLE bs_t, bs_remote, bs_p, bs_far CASCADE;
DROP PROCEDURE bs_proc(int);
