--
-- What the tests of index types share, read by them with \i: the same rows in a heap table with a btree and in a Concord table,
-- and what differs between the two. Values are random; whoever reports a difference names the seed, and
-- "ALTER DATABASE regress SET it.seed = 0.123" makes the tests begin with it.
--
SET client_min_messages = warning;
SET concord.allow_mixed_writes = on;
SET enable_seqscan = off;
SET enable_bitmapscan = off;
SET enable_sort = off;
SET jit = off;
SELECT set_config('it.seed', coalesce(nullif(current_setting('it.seed', true), ''), random()::text), false) AS seed \gset
SELECT setseed(:seed) \gset

-- True if a query's plan takes rows from indexes, in their order, and none but those of an index condition if asked.
CREATE FUNCTION it_uses_index(query text, condition bool DEFAULT false) RETURNS bool LANGUAGE plpgsql AS $$
DECLARE
	line text;
	conditions int := 0;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
		IF line ~ 'Seq Scan|Sort' OR (condition AND line ~ 'Filter') THEN
			RETURN false;
		END IF;
		conditions := conditions + (line ~ 'Index Cond')::int;
	END LOOP;
	RETURN conditions > 0 OR NOT condition;
END $$;

-- Compares heap and Concord for one type. `random` is an expression of i; `edges` are literals.
CREATE FUNCTION it_check(type text, random text, edges text[], opclass text DEFAULT '', ordered bool DEFAULT true)
RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	seed text := ' (seed ' || current_setting('it.seed') || ')';
	direction text;
	query text;
	wrong bigint;
	operator text;
	prefix text := CASE WHEN opclass ~ 'pattern' THEN '~' ELSE '' END;
	suffix text := CASE WHEN opclass ~ 'pattern' THEN '~' ELSE '' END;
	order_by text := CASE WHEN opclass ~ 'pattern' THEN ' USING ~<~' ELSE '' END;
	plain_type text := regexp_replace(type, ' COLLATE.*', '');
	is_array bool := (SELECT typcategory = 'A' FROM pg_type WHERE oid = plain_type::regtype);
BEGIN
	EXECUTE format('CREATE TABLE it_heap (id int, v %s) USING heap', type);
	EXECUTE format('CREATE TABLE it_conc (id int, v %s) USING concord', type);
	EXECUTE format('INSERT INTO it_heap SELECT i, CASE WHEN i %% 17 = 0 THEN NULL ELSE (%s)::%s END FROM generate_series(1, 150) i',
				   random, type);
	EXECUTE format('INSERT INTO it_heap SELECT 1000 + n, e::%s FROM unnest($1) WITH ORDINALITY u(e, n)', type) USING edges;
	EXECUTE format('INSERT INTO it_heap SELECT 2000 + n, e::%s FROM unnest($1) WITH ORDINALITY u(e, n)', type) USING edges;
	-- Half before the index is made, half after.
	INSERT INTO it_conc SELECT * FROM it_heap WHERE id % 2 = 0 ORDER BY id;

	FOREACH direction IN ARRAY ARRAY['ASC NULLS LAST', 'ASC NULLS FIRST', 'DESC NULLS LAST', 'DESC NULLS FIRST'] LOOP
		EXECUTE format('CREATE INDEX it_heap_v ON it_heap (v %s %s)', opclass, direction);
		EXECUTE format('CREATE INDEX it_conc_v ON it_conc (v %s %s)', opclass, direction);
		IF direction = 'ASC NULLS LAST' THEN
			INSERT INTO it_conc SELECT * FROM it_heap WHERE id % 2 = 1 ORDER BY id;
		END IF;

		-- order, both ways
		IF ordered AND order_by = '' THEN
			FOR i IN 1..2 LOOP
				query := format('SELECT v FROM it_conc ORDER BY v %s', direction);
				IF NOT it_uses_index(query) THEN
					RETURN NEXT format('%s %s: no index scan for %s', type, opclass, query) || seed;
				END IF;
				EXECUTE format('SELECT count(*) FROM (SELECT v, row_number() OVER () n FROM (%s) s) a '
							   'FULL JOIN (SELECT v, row_number() OVER () n FROM (%s) s) b USING (n) '
							   'WHERE a.v IS DISTINCT FROM b.v', query, replace(query, 'it_conc', 'it_heap')) INTO wrong;
				IF wrong > 0 THEN
					RETURN NEXT format('%s %s %s: order differs in %s places', type, opclass, direction, wrong) || seed;
				END IF;
				direction := CASE direction WHEN 'ASC NULLS LAST' THEN 'DESC NULLS FIRST'
											WHEN 'DESC NULLS FIRST' THEN 'ASC NULLS LAST'
											WHEN 'ASC NULLS FIRST' THEN 'DESC NULLS LAST'
											ELSE 'ASC NULLS FIRST' END;
			END LOOP;
		END IF;

		-- each comparison with each of some values
		FOREACH operator IN ARRAY ARRAY['<', '<=', '=', '>=', '>'] LOOP
			IF operator <> '=' THEN
				operator := prefix || operator || suffix;
			END IF;
			EXECUTE format('SELECT count(*) FROM (SELECT v FROM it_heap WHERE id %% 5 = 0 OR id > 1000) s, '
						   'LATERAL (SELECT count(*), sum(id) FROM it_heap WHERE v %1$s s.v) a(n, ids), '
						   'LATERAL (SELECT count(*), sum(id) FROM it_conc WHERE v %1$s s.v) b(n, ids) '
						   'WHERE (a.n, a.ids) IS DISTINCT FROM (b.n, b.ids)', operator) INTO wrong;
			IF wrong > 0 THEN
				RETURN NEXT format('%s %s %s: %s of the comparisons %s differ', type, opclass, direction, wrong, operator) || seed;
			END IF;
		END LOOP;

		-- which the index answers, and not a filter, where btree's does
		FOREACH query IN ARRAY ARRAY['v < %1$L::%2$s', 'v <= %1$L::%2$s', 'v = %1$L::%2$s', 'v >= %1$L::%2$s', 'v > %1$L::%2$s',
									 'v = ANY (ARRAY[%1$L, %3$L]::%4$s[])', 'v IS NULL', 'v IS NOT NULL'] LOOP
			CONTINUE WHEN opclass ~ 'image' OR (NOT ordered AND query ~ '[<>]') OR (is_array AND query ~ 'ANY');
			query := regexp_replace(query, '[<>]=?', prefix || '\&' || suffix);
			query := 'SELECT id FROM it_conc WHERE ' || format(query, edges[1], type, edges[2], plain_type);
			IF it_uses_index(replace(query, 'it_conc', 'it_heap'), true) AND NOT it_uses_index(query, true) THEN
				RETURN NEXT format('%s %s %s: no index scan for %s', type, opclass, direction, query) || seed;
			END IF;
		END LOOP;

		-- between, IN, IS NULL, IS NOT NULL
		EXECUTE format('SELECT count(*) FROM (SELECT v, lead(v, 7) OVER (ORDER BY id) w FROM it_heap WHERE id %% 7 = 0) s, '
					   'LATERAL (SELECT count(*), sum(id) FROM it_heap WHERE v %1$s s.v AND v %2$s s.w) a(n, ids), '
					   'LATERAL (SELECT count(*), sum(id) FROM it_conc WHERE v %1$s s.v AND v %2$s s.w) b(n, ids) '
					   'WHERE (a.n, a.ids) IS DISTINCT FROM (b.n, b.ids)', prefix || '>=' || suffix, prefix || '<' || suffix)
			INTO wrong;
		IF wrong > 0 THEN
			RETURN NEXT format('%s %s %s: %s ranges differ', type, opclass, direction, wrong) || seed;
		END IF;
		FOREACH query IN ARRAY ARRAY['v IS NULL', 'v IS NOT NULL', 'v = ANY ((SELECT array_agg(v) FROM it_heap WHERE id % 3 = 0)::%s[])'] LOOP
			CONTINUE WHEN is_array AND query ~ 'ANY';
			query := replace(query, '%s', plain_type);
			EXECUTE format('SELECT count(*) FROM (SELECT count(*), sum(id) FROM it_heap WHERE %1$s) a(n, ids), '
						   '(SELECT count(*), sum(id) FROM it_conc WHERE %1$s) b(n, ids) '
						   'WHERE (a.n, a.ids) IS DISTINCT FROM (b.n, b.ids)', query) INTO wrong;
			IF wrong > 0 THEN
				RETURN NEXT format('%s %s %s: %s differs', type, opclass, direction, query) || seed;
			END IF;
		END LOOP;

		-- index-only scans return the values as they were written
		EXECUTE 'SELECT count(*) FROM (SELECT count(*), sum(hashtext(v::text)) FROM it_heap WHERE v IS NOT NULL) a(n, h), '
			'(SELECT count(*), sum(hashtext(v::text)) FROM it_conc WHERE v IS NOT NULL) b(n, h) '
			'WHERE (a.n, a.h) IS DISTINCT FROM (b.n, b.h)' INTO wrong;
		IF wrong > 0 THEN
			RETURN NEXT format('%s %s %s: index-only scan returns other values', type, opclass, direction) || seed;
		END IF;
		DROP INDEX it_heap_v, it_conc_v;
	END LOOP;

	-- the same values are duplicates
	EXECUTE format('CREATE TABLE it_heap_u (v %1$s) USING heap; CREATE TABLE it_conc_u (v %1$s) USING concord; '
				   'CREATE UNIQUE INDEX ON it_heap_u (v %2$s); CREATE UNIQUE INDEX ON it_conc_u (v %2$s)', type, opclass);
	INSERT INTO it_heap_u SELECT v FROM it_heap ORDER BY id ON CONFLICT DO NOTHING;
	INSERT INTO it_conc_u SELECT v FROM it_heap ORDER BY id ON CONFLICT DO NOTHING;
	EXECUTE 'SELECT abs((SELECT count(*) FROM it_heap_u) - (SELECT count(*) FROM it_conc_u))' INTO wrong;
	IF wrong > 0 THEN
		RETURN NEXT format('%s %s: %s other duplicates', type, opclass, wrong) || seed;
	END IF;
	DROP TABLE it_heap_u, it_conc_u;
	DROP TABLE it_heap, it_conc;
	RETURN NEXT format('%s %s: checked', type, opclass);
END $$;
