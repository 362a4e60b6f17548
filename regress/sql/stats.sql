-- Views of statistics, after known commits.
CREATE TABLE stt (a int PRIMARY KEY, b int);
INSERT INTO stt VALUES (0, 0);
DELETE FROM stt;
SELECT concord.stat_reset();
SELECT commits, read_only, conflicts, too_old, refused, unknown, wait_us_avg, wait_us_max, connected FROM concord.stat_commits;
SELECT count(*) FROM concord.stat_conflicts;
SELECT sum(commits) FROM concord.stat_commit_waits;
INSERT INTO stt SELECT g, g FROM generate_series(1, 10) g;
UPDATE stt SET b = 0 WHERE a = 1;
SELECT count(*) FROM stt;
BEGIN;
INSERT INTO stt VALUES (11, 11);
ROLLBACK;
SELECT commits, read_only, conflicts, too_old, refused, unknown, messages >= 2 AS messages, bytes > 0 AS bytes,
  wait_us_total >= 2 * wait_us_avg AS total, wait_us_max >= wait_us_avg AS max, stats_reset <= now() AS reset FROM concord.stat_commits;
SELECT sum(commits) FROM concord.stat_commit_waits;
SELECT count(*), min(from_us), count(below_us) FROM concord.stat_commit_waits;
-- each bucket ends where the next one begins, and the waits lie in theirs
SELECT count(*) AS gaps FROM (SELECT below_us, lead(from_us) OVER (ORDER BY from_us) AS next FROM concord.stat_commit_waits) w
  WHERE below_us IS DISTINCT FROM next;
SELECT sum(w.commits * from_us) <= min(wait_us_total) AS least, sum(w.commits * coalesce(below_us, wait_us_max + 1)) > min(wait_us_total) AS most
  FROM concord.stat_commit_waits w, concord.stat_commits;
-- storage
SELECT concord.current_lsn() IS NOT NULL AS applied;
SELECT relation, kind, rows, bytes > 0 AS bytes, storage_id > 0 AS id FROM concord.stat_storage
  WHERE relation IN ('stt'::regclass, 'stt_pkey'::regclass) ORDER BY relation::text;
CREATE TABLE stt_empty (a int);
SELECT relation, kind, rows, bytes FROM concord.stat_storage WHERE relation = 'stt_empty'::regclass;
-- replicas
SELECT name ~ '^storage-[0-9a-f]{32}$' AS name, is_local, address LIKE 'unix:%' AS address, path LIKE '%/storage' AS path,
  applied_lsn <= concord.current_lsn() AS applied, lag_ms >= 0 AS lag, checkpoint_lsn <= applied_lsn AS checkpoint, horizon_lsn <= applied_lsn AS horizon, used_bytes > 0 AS used,
  free_bytes < file_bytes AS free, file_bytes BETWEEN used_bytes AND file_bytes_max AS file, versions >= 20 AS versions,
  dead_versions BETWEEN 0 AND versions AS dead,
  readers BETWEEN 0 AND readers_max AS readers, lease_checkpoint_lsn <= applied_lsn AS lease, lease_left_ms > 0 AS left
  FROM concord.stat_replicas;
-- An update leaves a dead version, until the horizon has passed it.
DO $$
BEGIN
  FOR i IN 1..100 LOOP
    UPDATE stt SET b = b + 1;
    COMMIT;
    IF (SELECT dead_versions >= 10 FROM concord.stat_replicas) THEN
      RAISE NOTICE 'dead versions';
      RETURN;
    END IF;
    COMMIT;
  END LOOP;
END $$;
-- nobody waits while all is well
SELECT count(*) FROM concord.stat_activity WHERE pid = pg_backend_pid();
-- who may see what
CREATE ROLE stt_role;
SET ROLE stt_role;
SELECT name ~ '^storage-' AS name, address, path, applied_lsn IS NULL AS applied FROM concord.stat_replicas;
SELECT count(*) > 0 AS storage FROM concord.stat_storage;
SELECT commits >= 0 AS commits FROM concord.stat_commits;
SELECT count(*) FROM concord.stat_conflicts;
SELECT concord.stat_reset();
RESET ROLE;
DROP ROLE stt_role;
DROP TABLE stt, stt_empty;
