-- USING hash on a Concord table makes an ordered index that serves what the hash index would.
CREATE TABLE ih_t (id int, t text COLLATE "en-x-icu", n name, u uuid, j jsonb, a int[], e text);
INSERT INTO ih_t SELECT i, 't' || i, 'n' || i, md5(i::text)::uuid, to_jsonb(i), ARRAY[i], repeat('e', i % 7) FROM generate_series(1, 100) i;
CREATE INDEX ih_id ON ih_t USING hash (id) WITH (fillfactor = 80);
CREATE INDEX ih_t_t ON ih_t USING hash (t);
CREATE INDEX ih_t_pattern ON ih_t USING hash (t text_pattern_ops);
CREATE INDEX ih_n ON ih_t USING hash (n);
CREATE INDEX ih_u ON ih_t USING hash (u);
CREATE INDEX ih_j ON ih_t USING hash (j);
CREATE INDEX ih_a ON ih_t USING hash (a);
CREATE INDEX CONCURRENTLY ih_e ON ih_t USING hash (length(e)) WHERE id > 50;
SELECT indexrelid::regclass, pg_get_indexdef(indexrelid), opcname, am.amname, a.atttypid::regtype, a.attlen
FROM pg_index JOIN pg_opclass o ON o.oid = indclass[0] JOIN pg_am am ON am.oid = opcmethod JOIN pg_attribute a ON attrelid = indexrelid
WHERE indrelid = 'ih_t'::regclass ORDER BY indexrelid::regclass::text;
SET enable_seqscan = off;
SET enable_bitmapscan = off;
EXPLAIN (COSTS OFF) SELECT id FROM ih_t WHERE id = 7;
EXPLAIN (COSTS OFF) SELECT id FROM ih_t WHERE id > 98 ORDER BY id;
SELECT id FROM ih_t WHERE id > 98 ORDER BY id;
SELECT id FROM ih_t WHERE t = 't7';
SELECT n FROM ih_t WHERE n = 'n7';
SELECT id FROM ih_t WHERE u = md5('7')::uuid;
SELECT id FROM ih_t WHERE j = '7.0';
SELECT id FROM ih_t WHERE a = '{7}';
SELECT count(*) FROM ih_t WHERE length(e) = 3 AND id > 50;
UPDATE ih_t SET id = id + 1000 WHERE id % 10 = 0;
SELECT id FROM ih_t WHERE id IN (10, 1010);
REINDEX TABLE ih_t;
REINDEX INDEX CONCURRENTLY ih_u;
VACUUM FULL ih_t;
ALTER TABLE ih_t ALTER id TYPE int8;
SELECT * FROM concord.check('ih_t');
SELECT id FROM ih_t WHERE id = 1010;
-- as PostgreSQL has it
CREATE UNIQUE INDEX ON ih_t USING hash (id);
CREATE INDEX ON ih_t USING hash (id, t);
CREATE INDEX ON ih_t USING hash (id DESC);
CREATE INDEX ON ih_t USING hash (id) INCLUDE (t);
-- refused: btree has no operator class of the type
CREATE TABLE ih_x (x xid, c cid, g aclitem, v tsvector);
CREATE INDEX ON ih_x USING hash (x);
CREATE INDEX ON ih_x USING hash (c);
CREATE INDEX ON ih_x USING hash (g);
CREATE INDEX ih_x_text ON ih_x USING hash ((x::text));
-- refused: other methods
CREATE INDEX ON ih_x USING gin (v);
CREATE INDEX ON ih_x USING gist (v);
CREATE INDEX ON ih_t USING spgist (t);
CREATE INDEX ON ih_t USING brin (id);
DROP TABLE ih_x;
-- exclusion constraints
CREATE TABLE ih_ex (a int, b jsonb, EXCLUDE USING hash (a WITH =), EXCLUDE USING hash (b WITH =) DEFERRABLE INITIALLY DEFERRED);
INSERT INTO ih_ex VALUES (1, '1'), (2, '2');
INSERT INTO ih_ex VALUES (1, '3');
BEGIN;
INSERT INTO ih_ex VALUES (3, '2.0');
SELECT count(*) FROM ih_ex WHERE b = '2';
COMMIT;
INSERT INTO ih_ex VALUES (3, '3');
ALTER TABLE ih_ex ADD c text;
UPDATE ih_ex SET c = 'c' || a;
ALTER TABLE ih_ex ADD EXCLUDE USING hash (c WITH =);
ALTER TABLE ih_ex ADD d int DEFAULT 5;
ALTER TABLE ih_ex ADD EXCLUDE USING hash (d WITH =);
ALTER TABLE ih_ex ADD EXCLUDE USING hash (d WITH =) WHERE (a = 1);
INSERT INTO ih_ex VALUES (4, '4', 'c3');
SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'ih_ex'::regclass ORDER BY conname;
SELECT * FROM concord.check('ih_ex');
-- LIKE, both ways
CREATE TABLE ih_like (LIKE ih_t INCLUDING ALL);
CREATE TABLE ih_heap (LIKE ih_ex INCLUDING ALL) USING heap;
CREATE TABLE ih_heap_hash (id int, EXCLUDE USING hash (id WITH =)) USING heap;
CREATE INDEX ON ih_heap_hash USING hash (id);
CREATE TABLE ih_like_hash (LIKE ih_heap_hash INCLUDING ALL);
SELECT c.relname, am.amname FROM pg_class c JOIN pg_index i ON i.indexrelid = c.oid JOIN pg_am am ON am.oid = c.relam
WHERE indrelid IN ('ih_like'::regclass, 'ih_heap'::regclass, 'ih_heap_hash'::regclass, 'ih_like_hash'::regclass) ORDER BY 1;
DROP TABLE ih_like, ih_heap, ih_heap_hash, ih_like_hash, ih_ex;
-- partitions of both kinds
CREATE TABLE ih_p (k int, v text COLLATE "C") PARTITION BY RANGE (k);
CREATE TABLE ih_p_heap PARTITION OF ih_p FOR VALUES FROM (0) TO (10) USING heap;
CREATE TABLE ih_p_conc PARTITION OF ih_p FOR VALUES FROM (10) TO (20);
CREATE INDEX ih_p_v ON ih_p USING hash (v);
CREATE TABLE ih_p_later PARTITION OF ih_p FOR VALUES FROM (20) TO (30);
CREATE TABLE ih_p_attached (k int, v text COLLATE "C");
ALTER TABLE ih_p ATTACH PARTITION ih_p_attached FOR VALUES FROM (30) TO (40);
-- as pg_dump does it
CREATE TABLE ih_p_dumped (k int, v text COLLATE "C");
ALTER TABLE ih_p ATTACH PARTITION ih_p_dumped FOR VALUES FROM (40) TO (50);
CREATE INDEX ih_p_k ON ONLY ih_p USING hash (k);
CREATE INDEX ih_p_dumped_k ON ih_p_dumped USING concord_btree (k);
CREATE INDEX ih_p_dumped_wrong ON ih_p_dumped USING concord_btree (v);
ALTER INDEX ih_p_k ATTACH PARTITION ih_p_dumped_wrong;
ALTER INDEX ih_p_k ATTACH PARTITION ih_p_dumped_k;
SELECT inhrelid::regclass, am.amname, inhparent::regclass FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid JOIN pg_am am ON am.oid = c.relam
WHERE inhparent IN ('ih_p_v'::regclass, 'ih_p_k'::regclass) ORDER BY 1;
SET concord.allow_mixed_writes = on;
INSERT INTO ih_p SELECT i, 'v' || i FROM generate_series(1, 49) i;
EXPLAIN (COSTS OFF) SELECT k FROM ih_p WHERE v = 'v15';
SELECT k FROM ih_p WHERE v IN ('v5', 'v15', 'v25', 'v35', 'v45') ORDER BY k;
CREATE INDEX ih_p_x ON ih_p USING hash ((k::text::xid));
DROP TABLE ih_p, ih_t;
RESET ALL;
