-- Rows of some MB: their values travel in parts, and are one piece again wherever they are read.
CREATE FUNCTION big(seed int, bytes int) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$
  SELECT substring(string_agg(sha256((seed || '.' || i)::bytea), '' ORDER BY i) from 1 for bytes) FROM generate_series(0, bytes / 32) i
$$;
CREATE TABLE large (id int PRIMARY KEY, note text, body bytea);
ALTER TABLE large ALTER body SET STORAGE EXTERNAL;
CREATE VIEW contents AS SELECT id, note, length(body), md5(body) FROM large ORDER BY id;

-- Sizes around that of a chunk, among small rows.
INSERT INTO large SELECT n, 'row ' || n, big(n, CASE WHEN n % 3 = 0 THEN 10 ELSE 1048400 + n * 16 END) FROM generate_series(1, 12) n;
INSERT INTO large VALUES (20, 'several', big(20, 3500000));
SELECT * FROM contents;
SELECT count(*) FROM large l WHERE body = big(l.id, length(body));
-- By the index, with a filter, and in parts.
SELECT note, length(body) FROM large WHERE id = 20;
SELECT id FROM large WHERE note LIKE '%ver%';
SELECT substring(body from 1048570 for 12) = substring(big(20, 3500000) from 1048570 for 12), get_byte(body, 3499999) = get_byte(big(20, 3500000), 3499999) FROM large WHERE id = 20;

-- Changes: of another column, of the value, to a small one and back.
UPDATE large SET note = 'changed' WHERE id = 20 RETURNING id, note, length(body), md5(body);
UPDATE large SET body = big(id + 100, 2500000) WHERE id IN (1, 3) RETURNING id, md5(body) = md5(big(id + 100, 2500000));
UPDATE large SET body = 'small' WHERE id = 20;
UPDATE large SET body = big(20, 2000000) WHERE id = 20;
DELETE FROM large WHERE id = 2 RETURNING length(body);
SELECT * FROM contents WHERE id IN (1, 2, 3, 20);

-- In one transaction, more than once, before and behind savepoints.
BEGIN;
INSERT INTO large VALUES (30, 'first', big(30, 2200000));
UPDATE large SET body = big(31, 2200000) WHERE id = 30;
SAVEPOINT a;
UPDATE large SET body = big(32, 3200000), note = 'gone' WHERE id = 30;
INSERT INTO large VALUES (31, 'gone', big(31, 2200000));
SELECT id, note, md5(body) = md5(big(32, 3200000)) FROM large WHERE id = 30;
ROLLBACK TO a;
UPDATE large SET note = 'last' WHERE id = 30;
INSERT INTO large VALUES (32, 'made', big(32, 1500000));
DELETE FROM large WHERE id = 32;
INSERT INTO large SELECT n, 'after', 'x' FROM generate_series(40, 42) n;
SELECT id, note, md5(body) = md5(big(31, 2200000)) FROM large WHERE id = 30;
COMMIT;
SELECT id, note, md5(body) = md5(big(31, 2200000)) FROM large WHERE id >= 30;
BEGIN;
INSERT INTO large VALUES (50, 'never', big(50, 2200000));
ROLLBACK;
DO $$
BEGIN
  FOR n IN 60..63 LOOP
    BEGIN
      INSERT INTO large VALUES (n, 'block', big(n, 1300000));
      IF n % 2 = 0 THEN RAISE division_by_zero; END IF;
    EXCEPTION WHEN division_by_zero THEN NULL;
    END;
  END LOOP;
END $$;
SELECT * FROM contents WHERE id >= 50;

-- ON CONFLICT, MERGE, cursors, triggers with OLD and NEW, transition tables.
INSERT INTO large VALUES (30, 'new', big(70, 1400000)) ON CONFLICT (id) DO UPDATE SET body = large.body || excluded.body
  RETURNING id, note, length(body), md5(body) = md5(big(31, 2200000) || big(70, 1400000));
MERGE INTO large USING (VALUES (30), (71)) v (id) ON large.id = v.id
  WHEN MATCHED THEN UPDATE SET body = big(71, 1200000) WHEN NOT MATCHED THEN INSERT VALUES (v.id, 'merged', big(v.id, 1200001));
SELECT * FROM contents WHERE id IN (30, 71);
BEGIN;
DECLARE c CURSOR FOR SELECT id, md5(body) = md5(big(CASE id WHEN 30 THEN 71 ELSE id END, length(body))) FROM large WHERE id >= 30 AND length(body) > 1000000 ORDER BY id;
FETCH 2 FROM c;
FETCH 1 FROM c;
COMMIT;
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE NOTICE '% %: old %, new %', TG_WHEN, TG_OP, md5(OLD.body), md5(NEW.body);
  RETURN NEW;
END $$;
CREATE FUNCTION tell_all() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE NOTICE 'old %, new %', (SELECT sum(length(body)) FROM old_rows), (SELECT sum(length(body)) FROM new_rows);
  RETURN NULL;
END $$;
CREATE TRIGGER before_row BEFORE UPDATE ON large FOR EACH ROW EXECUTE FUNCTION tell();
CREATE TRIGGER after_row AFTER UPDATE ON large FOR EACH ROW EXECUTE FUNCTION tell();
CREATE TRIGGER after_statement AFTER UPDATE ON large REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION tell_all();
UPDATE large SET body = big(80, 1700000) WHERE id = 30;
UPDATE large SET note = 'trigger' WHERE id = 30;
DROP TRIGGER before_row ON large;
DROP TRIGGER after_row ON large;
DROP TRIGGER after_statement ON large;

-- Into new storage: CREATE TABLE AS, rewrites, VACUUM FULL, CLUSTER, TRUNCATE in the transaction that loads, partitions.
CREATE TABLE copied AS SELECT * FROM large;
SELECT count(*) FROM large JOIN copied USING (id, note, body);
ALTER TABLE copied ADD PRIMARY KEY (id);
SELECT md5(body) = md5(big(80, 1700000)) FROM copied WHERE id = 30;
ALTER TABLE copied ADD COLUMN extra numeric DEFAULT random();
ALTER TABLE copied ALTER note TYPE varchar;
VACUUM FULL copied;
CLUSTER copied USING copied_pkey;
SELECT count(*) FROM large JOIN copied USING (id, note, body);
BEGIN;
TRUNCATE copied;
INSERT INTO copied SELECT * FROM large;
UPDATE copied SET note = 'loaded' WHERE id = 30;
SELECT count(*) FROM large JOIN copied USING (id, body);
COMMIT;
SELECT count(*) FROM large JOIN copied USING (id, body);
DO $$
BEGIN
  CREATE TABLE nothing AS SELECT * FROM large;
  RAISE division_by_zero;
EXCEPTION WHEN division_by_zero THEN
  CREATE TABLE something AS SELECT * FROM large WHERE id = 30;
END $$;
SELECT md5(body) = md5(big(80, 1700000)) FROM something;
CREATE TABLE parted (id int, body bytea) PARTITION BY LIST (id);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1);
CREATE TABLE parted_2 PARTITION OF parted FOR VALUES IN (2);
INSERT INTO parted VALUES (1, big(1, 1500000));
UPDATE parted SET id = 2;
SELECT tableoid::regclass, md5(body) = md5(big(1, 1500000)) FROM parted;

-- Compressed columns, and values that come out of line from heap.
CREATE TABLE squeezed (id int, plain text, pglz text COMPRESSION pglz, lz4 text COMPRESSION lz4);
ALTER TABLE squeezed ALTER plain SET STORAGE EXTERNAL;
INSERT INTO squeezed SELECT 1, t, t, t FROM repeat('large value ', 200000) t;
SELECT length(plain), pg_column_compression(pglz), pg_column_compression(lz4), pg_column_size(pglz) < 100000, plain = pglz AND pglz = lz4 FROM squeezed;
SELECT substr(plain, 1200001, 12), substr(pglz, 1200001, 12), substr(lz4, 2399995) FROM squeezed;
UPDATE squeezed SET id = 2;
SELECT id, md5(plain), md5(pglz), md5(lz4) FROM squeezed;
CREATE TEMPORARY TABLE toasted AS SELECT id, note, body FROM large;
CREATE TABLE brought_in (LIKE large);
INSERT INTO brought_in SELECT * FROM toasted;
UPDATE brought_in SET body = t.body || brought_in.body FROM toasted t WHERE t.id = brought_in.id AND t.id = 30;
SELECT count(*) FROM brought_in b JOIN large l USING (id) WHERE b.body = CASE id WHEN 30 THEN l.body || l.body ELSE l.body END;

-- The order of large rows, and a set of them.
SELECT id FROM (SELECT * FROM large WHERE length(body) > 1000000 ORDER BY body) x;
SELECT count(*), count(DISTINCT body) FROM (SELECT body FROM large UNION ALL SELECT body FROM copied) x;

DROP TABLE large, copied, something, parted, squeezed, toasted, brought_in CASCADE;
DROP FUNCTION tell, tell_all, big;
