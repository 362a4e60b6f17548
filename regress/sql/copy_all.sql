-- COPY both ways in its formats and options; CREATE TABLE AS, SELECT INTO and materialized views.
CREATE TABLE cp_t (id int PRIMARY KEY, v text DEFAULT 'dflt', n numeric, CHECK (id < 1000));
COPY cp_t FROM stdin (FORMAT csv, HEADER match, NULL 'nil', FORCE_NOT_NULL (v), DELIMITER ';');
id;v;n
1;"quoted; ""text""";1.5
2;;nil
3;"line
break";2
\.
COPY cp_t (id) FROM stdin;
4
5
\.
COPY cp_t FROM stdin WHERE n > 5 OR id % 2 = 0;
6	kept	1
7	left out	1
9	kept	9
\.
SELECT * FROM cp_t ORDER BY id;
COPY (SELECT * FROM cp_t ORDER BY id) TO stdout (FORMAT csv, HEADER, FORCE_QUOTE (v), NULL 'nil');
COPY (SELECT * FROM cp_t ORDER BY id) TO stdout (FORMAT text, DELIMITER '|', NULL '-', HEADER);
COPY (INSERT INTO cp_t VALUES (20, 'returned', 1) RETURNING *) TO stdout;
COPY (DELETE FROM cp_t WHERE id = 20 RETURNING id) TO stdout (FORMAT csv);
-- errors undo all of it, and say where
COPY cp_t FROM stdin;
30	good	1
1	bad	1
\.
COPY cp_t FROM stdin;
30	good	1
31	bad	x
\.
COPY cp_t FROM stdin;
30	good	1
3000	bad	1
\.
COPY cp_t FROM stdin;
30	too few
\.
SELECT count(*) FROM cp_t WHERE id >= 30;
-- through a program and a binary file
COPY cp_t (id) FROM PROGRAM 'seq 40 43';
SELECT count(*) FROM cp_t WHERE id >= 40;
COPY cp_t TO '/tmp/concord_copy.bin' (FORMAT binary);
CREATE TABLE cp_b (LIKE cp_t);
COPY cp_b FROM '/tmp/concord_copy.bin' (FORMAT binary);
COPY cp_b TO PROGRAM 'rm /tmp/concord_copy.bin; cat > /dev/null';
SELECT count(*), (SELECT count(*) FROM (TABLE cp_t EXCEPT TABLE cp_b) x) AS missing FROM cp_b;
-- FREEZE only where nobody can see the table; rows of the own transaction
COPY cp_b FROM stdin (FREEZE);
\.
BEGIN;
TRUNCATE cp_b;
COPY cp_b FROM stdin (FREEZE);
1	frozen	1
2	frozen	2
\.
SELECT * FROM cp_b ORDER BY id;
SAVEPOINT s;
COPY cp_b FROM stdin;
3	more	3
\.
ROLLBACK TO s;
COPY cp_b FROM stdin;
4	again	4
\.
COMMIT;
SELECT * FROM cp_b ORDER BY id;
-- with triggers, generated columns, into partitions, and through a view's trigger
CREATE FUNCTION cp_trigger() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_WHEN = 'AFTER' THEN RAISE NOTICE 'after %', NEW.id; RETURN NULL; END IF;
  IF TG_WHEN = 'INSTEAD OF' THEN INSERT INTO cp_b VALUES (NEW.id, 'instead', 0); RETURN NEW; END IF;
  IF NEW.id = 8 THEN RETURN NULL; END IF;
  NEW.v := upper(NEW.v);
  RETURN NEW;
END $$;
CREATE TRIGGER b BEFORE INSERT ON cp_t FOR EACH ROW EXECUTE FUNCTION cp_trigger();
CREATE TRIGGER a AFTER INSERT ON cp_t FOR EACH ROW EXECUTE FUNCTION cp_trigger();
COPY cp_t FROM stdin;
8	refused	1
10	upper	1
\.
SELECT * FROM cp_t WHERE id IN (8, 10);
CREATE VIEW cp_v AS SELECT id FROM cp_b;
CREATE TRIGGER i INSTEAD OF INSERT ON cp_v FOR EACH ROW EXECUTE FUNCTION cp_trigger();
COPY cp_v FROM stdin;
50
\.
SELECT * FROM cp_b WHERE id = 50;
CREATE TABLE cp_p (id int, twice int GENERATED ALWAYS AS (id * 2) STORED, k text) PARTITION BY LIST (k);
CREATE TABLE cp_p_a PARTITION OF cp_p FOR VALUES IN ('a');
CREATE TABLE cp_p_b PARTITION OF cp_p FOR VALUES IN ('b');
COPY cp_p FROM stdin;
1	a
2	b
3	a
4	b
\.
COPY cp_p FROM stdin;
5	a
6	c
\.
COPY cp_p (id, k) FROM PROGRAM 'seq 1 3000 | sed "s/$/\ta/;n;s/$/\tb/"';
SELECT tableoid::regclass, count(*), sum(twice) FROM cp_p GROUP BY 1 ORDER BY 1;
COPY cp_p TO PROGRAM 'cat > /dev/null';
COPY (SELECT * FROM cp_p WHERE id < 3 ORDER BY id, k) TO stdout;
-- CREATE TABLE AS and SELECT INTO
CREATE TABLE cp_as (a, b) AS SELECT id, v FROM cp_t WHERE id < 5 ORDER BY id;
CREATE TABLE IF NOT EXISTS cp_as AS SELECT 1;
CREATE TABLE cp_empty AS TABLE cp_as WITH NO DATA;
PREPARE cp_q (int) AS SELECT g FROM generate_series(1, $1) g;
CREATE TABLE cp_exec AS EXECUTE cp_q (5);
EXPLAIN (COSTS OFF, ANALYZE, TIMING OFF, SUMMARY OFF) CREATE TABLE cp_explained AS SELECT * FROM cp_exec;
SELECT a, b INTO cp_into FROM cp_as;
CREATE TABLE cp_values AS VALUES (1, 'one'), (2, 'two');
CREATE TABLE cp_with AS WITH x AS (DELETE FROM cp_values RETURNING *) SELECT * FROM x;
SELECT (SELECT count(*) FROM cp_as), (SELECT count(*) FROM cp_empty), (SELECT sum(g) FROM cp_exec), (SELECT count(*) FROM cp_explained),
  (SELECT count(*) FROM cp_into), (SELECT count(*) FROM cp_values);
-- materialized views
CREATE MATERIALIZED VIEW cp_mv (k, n) AS SELECT k, count(*) FROM cp_p GROUP BY k WITH NO DATA;
SELECT * FROM cp_mv;
REFRESH MATERIALIZED VIEW CONCURRENTLY cp_mv;
REFRESH MATERIALIZED VIEW cp_mv;
REFRESH MATERIALIZED VIEW CONCURRENTLY cp_mv;
CREATE UNIQUE INDEX cp_mv_k ON cp_mv (k);
SELECT * FROM cp_mv ORDER BY k;
DELETE FROM cp_p WHERE k = 'a';
INSERT INTO cp_p (id, k) VALUES (1, 'b');
BEGIN;
REFRESH MATERIALIZED VIEW CONCURRENTLY cp_mv;
SELECT * FROM cp_mv ORDER BY k;
ROLLBACK;
SELECT * FROM cp_mv ORDER BY k;
REFRESH MATERIALIZED VIEW CONCURRENTLY cp_mv;
SELECT * FROM cp_mv ORDER BY k;
CREATE MATERIALIZED VIEW cp_mv2 AS SELECT m.k, m.n, t.v FROM cp_mv m CROSS JOIN cp_t t WHERE t.id = 1;
REFRESH MATERIALIZED VIEW cp_mv2;
SELECT * FROM cp_mv2;
INSERT INTO cp_mv VALUES ('x', 1);
SELECT * FROM cp_mv FOR UPDATE;
REFRESH MATERIALIZED VIEW cp_mv WITH NO DATA;
SELECT * FROM cp_mv;
ALTER MATERIALIZED VIEW cp_mv RENAME COLUMN n TO nn;
REFRESH MATERIALIZED VIEW cp_mv;
SELECT * FROM cp_mv;
CREATE MATERIALIZED VIEW cp_dup AS SELECT 1 AS a UNION ALL SELECT 2;
CREATE UNIQUE INDEX ON cp_dup (a);
CREATE OR REPLACE VIEW cp_v AS SELECT id FROM cp_b;
DROP MATERIALIZED VIEW cp_mv;
DROP MATERIALIZED VIEW cp_dup, cp_mv2, cp_mv;
DROP TABLE cp_t, cp_b, cp_p, cp_as, cp_empty, cp_exec, cp_explained, cp_into, cp_values, cp_with CASCADE;
DROP FUNCTION cp_trigger();
