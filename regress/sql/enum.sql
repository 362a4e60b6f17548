-- Index keys hold an enum's sort order: labels may be added as long as no label moves.
CREATE TYPE en_type AS ENUM ('L1', 'L2');
CREATE DOMAIN en_domain AS en_type;
CREATE TABLE en_t (n int, e en_type, d en_domain);
CREATE INDEX en_e ON en_t (n, e);
INSERT INTO en_t VALUES (1, 'L1', 'L2'), (2, 'L2', 'L1');
ALTER TYPE en_type ADD VALUE 'a' BEFORE 'L1';
ALTER TYPE en_type ADD VALUE 'z';
ALTER TYPE en_type RENAME VALUE 'z' TO 'zz';
-- until no number is left between two labels
DO $$
DECLARE
  detail text;
  hint text;
BEGIN
  FOR i IN 1..100 LOOP
    BEGIN
      EXECUTE format('ALTER TYPE en_type ADD VALUE %L BEFORE %L', 'i' || i, 'L2');
    EXCEPTION WHEN feature_not_supported THEN
      GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
      RAISE NOTICE E'after % values: %\n%\n%', i - 1, SQLERRM, detail, hint;
      EXIT;
    END;
  END LOOP;
END $$;
INSERT INTO en_t VALUES (3, 'i1'), (4, 'a');
SET enable_seqscan = off;
SELECT n FROM en_t WHERE n = 2 AND e = 'L2';
SELECT n, e FROM en_t WHERE n > 0 ORDER BY e;
-- an index on a domain counts too, and one on what consists of it
ALTER TABLE en_t ADD a en_domain[];
DROP INDEX en_e;
CREATE INDEX en_a ON en_t (a);
ALTER TYPE en_type ADD VALUE 'last' BEFORE 'L2';
DROP INDEX en_a;
CREATE INDEX en_d ON en_t (d);
ALTER TYPE en_type ADD VALUE 'last' BEFORE 'L2';
-- without an index
DROP INDEX en_d;
ALTER TYPE en_type ADD VALUE 'last' BEFORE 'L2';
CREATE INDEX en_e ON en_t (e);
INSERT INTO en_t VALUES (5, 'last');
SELECT n, e FROM en_t WHERE e > 'a' ORDER BY e;
RESET ALL;
DROP TABLE en_t;
DROP DOMAIN en_domain;
DROP TYPE en_type;
