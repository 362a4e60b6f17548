-- Storage of what is gone goes: counters of storage ids return to what they were.
CREATE FUNCTION dr_wait(before bigint) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
  FOR i IN 1..200 LOOP
    IF (SELECT storages <= before AND dropping = 0 FROM concord.status) THEN RETURN true; END IF;
    PERFORM pg_sleep(0.05);
  END LOOP;
  RETURN false;
END $$;
CREATE TABLE dr_keep (a int PRIMARY KEY);
INSERT INTO dr_keep SELECT generate_series(1, 10);
SELECT storages AS before FROM concord.status \gset
CREATE TABLE dr_t (a int PRIMARY KEY, b text);
CREATE INDEX ON dr_t (b);
INSERT INTO dr_t SELECT g, 'b' || g FROM generate_series(1, 1000) g;
TRUNCATE dr_t;
INSERT INTO dr_t SELECT g, 'b' || g FROM generate_series(1, 1000) g;
REINDEX TABLE dr_t;
VACUUM FULL dr_t;
DROP TABLE dr_t;
BEGIN;
CREATE TABLE dr_r AS SELECT generate_series(1, 1000) AS a;
CREATE INDEX ON dr_r (a);
ROLLBACK;
SELECT dr_wait(:before);
SELECT count(*) FROM dr_keep;
DROP TABLE dr_keep;
DROP FUNCTION dr_wait;
