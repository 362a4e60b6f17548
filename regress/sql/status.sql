-- concord.status and the LSNs.
CREATE TABLE st_t (a int);
SELECT concord.current_lsn() AS before \gset
INSERT INTO st_t VALUES (1);
SELECT concord.current_lsn() > :'before'::pg_lsn AS moved;
SELECT sidecar, epoch > 0 AS epoch, committed_lsn >= :'before'::pg_lsn AS committed, applied_lsn <= concord.current_lsn() AS applied,
  checkpoint_lsn <= applied_lsn AS checkpoint, horizon_lsn <= applied_lsn AS horizon, journal_bytes > 0 AS journal,
  storage_bytes > 0 AS storage, commits > 0 AS commits, conflicts >= 0 AS conflicts FROM concord.status;
DROP TABLE st_t;
-- sizes in storage
CREATE TABLE st_size (a int PRIMARY KEY, b text);
CREATE TABLE st_heap (a int) USING heap;
SELECT concord.relation_size('st_size');
INSERT INTO st_size SELECT g, repeat('x', 100) FROM generate_series(1, 1000) g;
SELECT concord.relation_size('st_size') AS rows, concord.relation_size('st_size_pkey') AS entries \gset
SELECT :rows BETWEEN 100000 AND 300000 AS rows, :entries BETWEEN 10000 AND 100000 AS entries;
INSERT INTO st_size SELECT g, repeat('x', 100) FROM generate_series(1001, 2000) g;
SELECT concord.relation_size('st_size') BETWEEN :rows * 19 / 10 AND :rows * 21 / 10 AS doubled;
DELETE FROM st_size;
SELECT concord.relation_size('st_size'), concord.relation_size('st_size_pkey');
SELECT concord.relation_size('st_heap');
SELECT concord.relation_size(0);
DROP TABLE st_size, st_heap;
