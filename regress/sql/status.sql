-- concord.status and the LSNs.
CREATE TABLE st_t (a int);
SELECT concord.current_lsn() AS before \gset
INSERT INTO st_t VALUES (1);
SELECT concord.current_lsn() > :'before'::pg_lsn AS moved;
SELECT sidecar, epoch > 0 AS epoch, committed_lsn >= :'before'::pg_lsn AS committed, applied_lsn <= concord.current_lsn() AS applied,
  checkpoint_lsn <= applied_lsn AS checkpoint, horizon_lsn <= applied_lsn AS horizon, journal_bytes > 0 AS journal,
  storage_bytes > 0 AS storage, commits > 0 AS commits, conflicts >= 0 AS conflicts FROM concord.status;
DROP TABLE st_t;
