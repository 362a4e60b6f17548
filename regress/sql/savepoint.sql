-- Savepoints and PL/pgSQL exceptions roll back exactly, in rows and in indexes.
CREATE TABLE sp_t (id int PRIMARY KEY, v text);
BEGIN;
INSERT INTO sp_t VALUES (1, 'a');
SAVEPOINT s1;
INSERT INTO sp_t VALUES (2, 'b');
UPDATE sp_t SET v = 'changed' WHERE id = 1;
SAVEPOINT s2;
DELETE FROM sp_t WHERE id = 1;
SELECT * FROM sp_t ORDER BY id;
ROLLBACK TO s2;
SELECT * FROM sp_t ORDER BY id;
ROLLBACK TO s1;
SELECT * FROM sp_t ORDER BY id;
INSERT INTO sp_t VALUES (2, 'second try');
RELEASE s1;
SAVEPOINT s3;
UPDATE sp_t SET id = id + 10;
RELEASE s3;
COMMIT;
SELECT * FROM sp_t ORDER BY id;
SET enable_seqscan = off;
SELECT * FROM sp_t WHERE id = 1;
SELECT * FROM sp_t WHERE id = 11;
RESET enable_seqscan;
DO $$
BEGIN
  FOR i IN 1..20 LOOP
    BEGIN
      INSERT INTO sp_t VALUES (i, 'loop');
      IF i % 3 = 0 THEN RAISE EXCEPTION 'undo'; END IF;
    EXCEPTION
      WHEN unique_violation THEN RAISE NOTICE '% is there already', i;
      WHEN raise_exception THEN NULL;
    END;
  END LOOP;
END $$;
SELECT id, v FROM sp_t ORDER BY id;
-- a cursor opened before a savepoint goes on after its rollback
BEGIN;
DECLARE c CURSOR FOR SELECT id FROM sp_t ORDER BY id;
FETCH 2 FROM c;
SAVEPOINT s;
UPDATE sp_t SET v = 'x';
FETCH 2 FROM c;
ROLLBACK TO s;
FETCH 2 FROM c;
COMMIT;
-- many subtransactions, each failing
DO $$
BEGIN
  FOR i IN 1..2000 LOOP
    BEGIN
      PERFORM 1 FROM sp_t WHERE id = 11;
      INSERT INTO sp_t VALUES (11, 'duplicate');
    EXCEPTION WHEN unique_violation THEN NULL;
    END;
  END LOOP;
END $$;
SELECT count(*) FROM sp_t;
DROP TABLE sp_t;
