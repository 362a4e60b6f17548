-- The ordered index: kinds of scans, of columns, of keys.
CREATE TABLE ix_t (a int, b text, c numeric, d timestamptz);
INSERT INTO ix_t SELECT g % 10, 'k' || g % 7, g / 3.0, '2024-01-01'::timestamptz + g * interval '1 hour'
  FROM generate_series(1, 500) g;
INSERT INTO ix_t VALUES (NULL, 'null a', 0, NULL), (NULL, NULL, NULL, NULL), (3, NULL, 'NaN', 'infinity');
CREATE INDEX ix_ab ON ix_t (a, b);
CREATE INDEX ix_desc ON ix_t (a DESC NULLS LAST, c NULLS FIRST) INCLUDE (b);
CREATE INDEX ix_expr ON ix_t ((a + length(b)));
CREATE INDEX ix_part ON ix_t (d) WHERE a = 3;
ANALYZE ix_t;
SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_sort = off;
SELECT a, b, count(*) FROM ix_t WHERE a = 3 GROUP BY a, b ORDER BY a, b;
SELECT count(*) FROM ix_t WHERE a = 3 AND b > 'k2' AND b <= 'k5';
SELECT count(*) FROM ix_t WHERE a IN (1, 3, 3, 99, NULL);
SELECT count(*) FROM ix_t WHERE a IS NULL;
SELECT count(*) FROM ix_t WHERE a IS NOT NULL;
SELECT count(*) FROM ix_t WHERE (a, b) > (8, 'k3');
SELECT count(*) FROM ix_t WHERE (a, b) <= (1, 'k3');
SELECT count(*) FROM ix_t WHERE a > 5 AND a < 3;
SELECT count(*) FROM ix_t WHERE a = 1 AND a = 2;
SELECT count(*) FROM ix_t WHERE a >= 2147483648;
SELECT count(*) FROM ix_t WHERE a < 99999999999;
SELECT a, c FROM ix_t WHERE a >= 8 ORDER BY a DESC NULLS LAST, c NULLS FIRST LIMIT 3;
SELECT a, c FROM ix_t ORDER BY a NULLS FIRST, c DESC NULLS LAST LIMIT 4;
SELECT a, b FROM ix_t ORDER BY a DESC, b DESC LIMIT 5;
SELECT count(*) FROM ix_t WHERE a + length(b) = 5;
SELECT count(*) FROM ix_t WHERE a = 3 AND d > '2024-01-10';
SELECT min(a), max(a) FROM ix_t;
SELECT a, b, c FROM ix_t WHERE a = 3 AND c = 'NaN';
EXPLAIN (COSTS OFF) SELECT a, c, b FROM ix_t WHERE a = 3 ORDER BY a DESC NULLS LAST, c NULLS FIRST LIMIT 1;
SET enable_indexscan = off; SET enable_indexonlyscan = off; SET enable_bitmapscan = on;
SELECT count(*) FROM ix_t WHERE a = 3 OR a + length(b) = 5;
SELECT count(*) FROM ix_t WHERE a = 3 AND d > '2024-01-10';
RESET ALL;
SET enable_seqscan = off; SET enable_bitmapscan = off;
-- entries follow their rows
UPDATE ix_t SET a = 77 WHERE a = 3;
SELECT count(*) FROM ix_t WHERE a = 3;
SELECT count(*) FROM ix_t WHERE a = 77;
DELETE FROM ix_t WHERE a = 77;
SELECT count(*) FROM ix_t WHERE a = 77;
BEGIN;
INSERT INTO ix_t (a, b) VALUES (1000, 'own');
SELECT a, b FROM ix_t WHERE a > 9;
UPDATE ix_t SET a = 1001 WHERE a = 1000;
SELECT a, b FROM ix_t WHERE a > 9;
CREATE INDEX ix_late ON ix_t (b, a);
SELECT b, a FROM ix_t WHERE b = 'own';
ROLLBACK;
SELECT a, b FROM ix_t WHERE a > 9;
REINDEX TABLE ix_t;
SELECT count(*) FROM ix_t WHERE a = 4;
REINDEX INDEX CONCURRENTLY ix_ab;
SELECT count(*) FROM ix_t WHERE a = 4 AND b = 'k4';
CREATE INDEX CONCURRENTLY ix_conc ON ix_t (c);
SELECT count(*) FROM ix_t WHERE c BETWEEN 1 AND 2;
DROP INDEX ix_ab, ix_conc;
SELECT count(*) FROM ix_t WHERE a = 4;
-- nested loop with index look-ups, merge join, distinct
CREATE TABLE ix_u (k int PRIMARY KEY, w text COLLATE "C");
INSERT INTO ix_u SELECT g, 'w' || g FROM generate_series(1, 1000) g;
ANALYZE ix_u;
SET enable_hashjoin = off; SET enable_mergejoin = off;
SELECT sum(u.k) FROM ix_t t JOIN ix_u u ON u.k = t.a * 10;
SET enable_mergejoin = on; SET enable_nestloop = off;
SELECT sum(u.k) FROM ix_t t JOIN ix_u u ON u.k = t.a;
RESET ALL;
SELECT count(*) FROM ix_u WHERE k = ANY (ARRAY(SELECT g FROM generate_series(1, 2000, 7) g));
-- too long a key
CREATE TABLE ix_long (t text);
CREATE INDEX ON ix_long (t);
INSERT INTO ix_long VALUES (repeat('k', 400));
\set VERBOSITY sqlstate
INSERT INTO ix_long VALUES (repeat('k', 4000));
\set VERBOSITY default
SELECT count(*) FROM ix_long WHERE t = repeat('k', 400);
DROP TABLE ix_t, ix_u, ix_long;
