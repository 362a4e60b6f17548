-- Storage of what is gone goes: counters of storage ids return to what they were.
CREATE TABLE dr_keep (a int PRIMARY KEY);
INSERT INTO dr_keep SELECT generate_series(1, 10);
SELECT count(*) FROM dr_keep;
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
SET dr.before = :before;
-- each look in a transaction of its own: an open one would keep what it can still read
DO $$
BEGIN
  FOR i IN 1..6000 LOOP
    IF (SELECT storages <= current_setting('dr.before')::bigint AND dropping = 0 FROM concord.status) THEN
      RAISE NOTICE 'all dropped storage is gone';
      RETURN;
    END IF;
    COMMIT;
    PERFORM pg_sleep(0.05);
    COMMIT;
  END LOOP;
END $$;
SELECT count(*) FROM dr_keep;
DROP TABLE dr_keep;
