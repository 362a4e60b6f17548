-- The planner takes the index as it takes btree.
CREATE TABLE pl_t (id int PRIMARY KEY, k int, t text COLLATE "C");
INSERT INTO pl_t SELECT g, g % 100, 't' || g FROM generate_series(1, 5000) g;
CREATE INDEX pl_k ON pl_t (k, id);
CREATE INDEX pl_tx ON pl_t (t);
ANALYZE pl_t;
EXPLAIN (COSTS OFF) SELECT * FROM pl_t WHERE id = 5;
EXPLAIN (COSTS OFF) SELECT id FROM pl_t WHERE k = 5 ORDER BY id LIMIT 3;
EXPLAIN (COSTS OFF) SELECT * FROM pl_t ORDER BY id DESC LIMIT 1;
EXPLAIN (COSTS OFF) SELECT * FROM pl_t WHERE t LIKE 't12%';
EXPLAIN (COSTS OFF) SELECT max(id) FROM pl_t;
EXPLAIN (COSTS OFF) SELECT * FROM pl_t WHERE (k, id) > (98, 4000) ORDER BY k, id LIMIT 2;
SELECT * FROM pl_t WHERE (k, id) > (98, 4000) ORDER BY k, id LIMIT 2;
SELECT count(*) FROM pl_t WHERE t LIKE 't12%';
-- a unique key removes a left join
EXPLAIN (COSTS OFF) SELECT a.k FROM pl_t a LEFT JOIN pl_t b ON b.id = a.k;
DROP TABLE pl_t;
