-- Blocks of rowids that a server has leased for storage that is gone make room for others: a table's rows stay together.
-- 6000 storages are more than a server keeps blocks of.
SET synchronous_commit = off;
CREATE TABLE le_churn (a int) PARTITION BY LIST (a);
DO $$
BEGIN
  FOR i IN 1..100 LOOP
    EXECUTE format('CREATE TABLE le_churn_%s PARTITION OF le_churn FOR VALUES IN (%1$s)', i);
  END LOOP;
  COMMIT;
  FOR i IN 1..60 LOOP
    TRUNCATE le_churn;
    INSERT INTO le_churn SELECT generate_series(1, 100);
    COMMIT;
  END LOOP;
END $$;
CREATE TABLE le_a (a int);
CREATE TABLE le_b (a int);
INSERT INTO le_a VALUES (1);
INSERT INTO le_b VALUES (1);
INSERT INTO le_a VALUES (2);
INSERT INTO le_b VALUES (2);
SELECT ctid, a FROM le_a;
SELECT ctid, a FROM le_b;
DROP TABLE le_churn, le_a, le_b;
