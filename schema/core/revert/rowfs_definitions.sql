-- Revert rowfs_core:rowfs_definitions from pg
--
-- As it was before, without the definitions: each mount makes its own anew.

BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp;

SELECT rowfs.drop_triggers(NULL);
DELETE FROM rowfs.notice;
DELETE FROM rowfs.slice;
DELETE FROM rowfs.summary;
DELETE FROM rowfs.delta;
DELETE FROM rowfs.doubt;

DROP FUNCTION rowfs.tell(regclass, jsonb), rowfs.notice_texts(rowfs.notice), rowfs.notice_text(regclass, jsonb),
	rowfs.counting(rowfs.slice, text[], int[], text),
	rowfs.counting(bigint, rowfs.expressions, text[], int[], text, boolean), rowfs.expressions_of(rowfs.slice), rowfs.is_bucket(text, text),
	rowfs.slices_of(regclass), rowfs.notify_all(regclass), rowfs.notice_nothing(regclass), rowfs.notices_of(regclass),
	rowfs.csv_field(text, text, "char", "char"), rowfs.key_group(text, text, text, text), rowfs.key_text(text, text, text),
	rowfs.unit(text), rowfs.time_format(text), rowfs.has_one_text(text), rowfs.column_type(regclass, text), rowfs.full_name(regclass),
	rowfs.allow(regrole);
DROP TYPE rowfs.expressions;

ALTER TABLE rowfs.slice
	DROP COLUMN csv, DROP COLUMN columns, DROP COLUMN keys, DROP COLUMN units, DROP COLUMN formats,
	ADD COLUMN groups     text[] NOT NULL,
	ADD COLUMN facts      text[] NOT NULL,
	ADD COLUMN keys       text[] NOT NULL,
	ADD COLUMN row_bytes  text NOT NULL,
	ADD COLUMN file_bytes text NOT NULL;
ALTER TABLE rowfs.notice ALTER COLUMN keys TYPE text[] USING '{}';

-- The slices that are counted on a table: its own, or those of the table that it is a partition of.
CREATE OR REPLACE FUNCTION rowfs.slices_of(rel regclass) RETURNS SETOF rowfs.slice LANGUAGE sql STABLE
BEGIN ATOMIC
	WITH RECURSIVE up(rel) AS (
		SELECT rel::oid
		UNION
		SELECT i.inhparent FROM up JOIN pg_inherits i ON i.inhrelid = up.rel
	)
	SELECT s.* FROM rowfs.slice s JOIN up ON to_regclass(s.relation) = up.rel::regclass
	 ORDER BY s.id;
END;

-- SELECT that sums, for slice S, the rows of each of SOURCES ("fresh r", "ONLY t r"), counted SIGNS times.
-- The columns are those of rowfs.summary; LATEST is an expression over r for a row's time, or NULL. ALONE: each of
-- SOURCES has one row, and nothing need be gathered.
CREATE OR REPLACE FUNCTION rowfs.counting(s rowfs.slice, sources text[], signs int[], latest text, alone boolean DEFAULT false)
RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
	keys text := '';
	known text := 'true';
	facts text := '';
	grouped text := '';
	parts text[] := '{}';
BEGIN
	FOR i IN 1..4 LOOP
		keys := keys || format('(%s) COLLATE "C" AS k%s, ', coalesce(s.keys[i], '''''::text'), i);
	END LOOP;
	FOR i IN 1..cardinality(s.keys) LOOP
		known := known || format(' AND x.k%s IS NOT NULL', i);
		facts := facts || format(CASE WHEN alone OR s.facts[i] = s.groups[i] THEN '%s' ELSE 'min(%s)' END || ' AS g%s, ',
			s.facts[i], i);
		grouped := grouped || CASE WHEN i > 1 THEN ', ' ELSE 'GROUP BY ' END || s.groups[i];
	END LOOP;
	FOR i IN 1..cardinality(sources) LOOP
		parts := parts || format('SELECT %s%s * g.n AS n, %s * (g.b + g.n * (%s)) AS b, g.t FROM '
			'(SELECT %s' || CASE WHEN alone THEN '1 AS n, %s AS b, %s AS t FROM %s OFFSET 0'
			ELSE 'count(*) AS n, sum(%s) AS b, %s AS t FROM %s %s HAVING count(*) > 0' END || ') g',
			keys, signs[i], signs[i], s.file_bytes, facts, s.row_bytes,
			coalesce('max(' || latest || ')', 'NULL::timestamptz'), sources[i], grouped);
	END LOOP;
	IF alone AND cardinality(sources) = 1 THEN
		RETURN format('SELECT %s::bigint AS slice, x.k1, x.k2, x.k3, x.k4, x.n AS rows, x.b AS bytes, '
			'clock_timestamp() AS changed FROM (%s) x WHERE %s', s.id, parts[1], known);
	END IF;
	RETURN format('SELECT %s::bigint AS slice, x.k1, x.k2, x.k3, x.k4, sum(x.n)::bigint AS rows, '
		'sum(x.b)::bigint AS bytes, coalesce(max(x.t), clock_timestamp()) AS changed '
		'FROM (%s) x WHERE %s GROUP BY x.k1, x.k2, x.k3, x.k4',
		s.id, array_to_string(parts, ' UNION ALL '), known);
END
$$;

-- The text of the trigger function of TOP, made of all its slices. Most statements change one row: they are spared what
-- gathers many. An UPDATE is measured by the rows that it takes away: not all of them arrive where another partition's
-- trigger drops them. A mistake (a column that is gone) must not break the writer's statement: the slice is in doubt then.
CREATE OR REPLACE FUNCTION rowfs.watch_body(top regclass) RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
	s rowfs.slice;
	body text := E'DECLARE one bigint; found int;\nBEGIN\n';
	name text := CASE WHEN (SELECT relkind FROM pg_class WHERE oid = top) = 'p' THEN top::oid::text ELSE '' END;
BEGIN
	body := body || format(E'IF TG_OP = ''TRUNCATE'' AND TG_WHEN = ''AFTER'' THEN\n'
		'	PERFORM set_config(''rowfs.truncated'', '''', true); RETURN NULL;\n'
		'ELSIF TG_OP = ''INSERT'' THEN\n	SELECT count(*) INTO found FROM (SELECT FROM fresh LIMIT 2) x;\n'
		'ELSIF TG_OP <> ''TRUNCATE'' THEN\n	SELECT count(*) INTO found FROM (SELECT FROM stale LIMIT 2) x;\n'
		'END IF;\nIF found = 0 THEN\n	RETURN NULL;\nEND IF;\n');
	FOR s IN SELECT * FROM rowfs.slices_of(top) LOOP
		body := body || format($f$one := %1$s;
BEGIN
	IF TG_OP = 'INSERT' AND found = 1 THEN
		INSERT INTO rowfs.delta %7$s;
	ELSIF TG_OP = 'DELETE' AND found = 1 THEN
		INSERT INTO rowfs.delta %8$s;
	ELSIF TG_OP = 'UPDATE' AND found = 1 THEN
		INSERT INTO rowfs.delta %9$s;
	ELSIF TG_OP = 'INSERT' THEN
		INSERT INTO rowfs.delta %2$s;
	ELSIF TG_OP = 'DELETE' THEN
		INSERT INTO rowfs.delta %3$s;
	ELSIF TG_OP = 'UPDATE' THEN
		INSERT INTO rowfs.delta %4$s;
	ELSIF current_setting('transaction_isolation') <> 'read committed' THEN
		INSERT INTO rowfs.doubt (slice, why)
		VALUES (one, 'TRUNCATE in a transaction that does not see what others committed');
	ELSIF TG_RELID = %5$s AND (%6$L <> '' OR NOT EXISTS (SELECT FROM pg_inherits WHERE inhparent = TG_RELID)) THEN
		-- all rows go, whatever their number
		INSERT INTO rowfs.delta SELECT u.slice, u.k1, u.k2, u.k3, u.k4, -sum(u.rows), -sum(u.bytes), clock_timestamp()
		  FROM (SELECT * FROM rowfs.summary WHERE slice = one
		        UNION ALL SELECT * FROM rowfs.delta WHERE slice = one) u
		 GROUP BY u.slice, u.k1, u.k2, u.k3, u.k4;
	ELSIF coalesce(current_setting('rowfs.truncated', true), '') <> %5$L AND
	      (SELECT relkind FROM pg_class WHERE oid = TG_RELID) = 'r' THEN
		EXECUTE 'INSERT INTO rowfs.delta ' || rowfs.counting(x, ARRAY['ONLY ' || TG_RELID::regclass || ' r'],
			ARRAY[-1], NULL) FROM rowfs.slice x WHERE x.id = one;
	END IF;
EXCEPTION WHEN OTHERS THEN
	INSERT INTO rowfs.doubt (slice, why) SELECT one, SQLERRM
	 WHERE NOT EXISTS (SELECT FROM rowfs.doubt d WHERE d.slice = one);
	RAISE WARNING 'rowfs: %%: the sizes of its files are summed until they are counted anew (rowfs check): %%',
		TG_RELID::regclass, SQLERRM;
END;
$f$,
			s.id,
			rowfs.counting(s, '{fresh r}', '{1}', NULL),
			rowfs.counting(s, '{stale r}', '{-1}', NULL),
			rowfs.counting(s, '{fresh r,stale r}', '{1,-1}', NULL),
			top::oid, name,
			rowfs.counting(s, '{fresh r}', '{1}', NULL, true),
			rowfs.counting(s, '{stale r}', '{-1}', NULL, true),
			rowfs.counting(s, '{fresh r,stale r}', '{1,-1}', NULL, true));
	END LOOP;
	RETURN body || format(E'IF TG_OP = ''TRUNCATE'' AND TG_RELID::text = %L THEN\n'
		'	PERFORM set_config(''rowfs.truncated'', TG_RELID::text, true);\nEND IF;\nRETURN NULL;\nEND',
		name);
END
$$;

-- The first half of installing: the slices IDS of REL, as DEFINITIONS (a JSON array of objects with the columns
-- of rowfs.slice), and the triggers. Locks the table against writers until the end of the transaction. Returns
-- the slices that are to be built now: rowfs.build() for each part of the table, rowfs.built() at last.
CREATE OR REPLACE FUNCTION rowfs.install(rel regclass, ids bigint[], definitions jsonb)
RETURNS SETOF bigint LANGUAGE plpgsql AS $$
DECLARE
	fresh bigint[];
	old bigint[];
	others bigint[];
BEGIN
	EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', rel);
	IF EXISTS (SELECT FROM pg_inherits i WHERE i.inhrelid = rel) THEN
		RAISE feature_not_supported USING
			MESSAGE = format('%s is a part of another table, whose statements do not tell it what they change', rel);
	END IF;
	-- definitions that no mount has asked for in a month
	old := ARRAY(SELECT id FROM rowfs.slice WHERE to_regclass(relation) = rel
	              AND used < now() - interval '30 days' AND id <> ALL (ids));
	DELETE FROM rowfs.slice WHERE id = ANY (old);
	INSERT INTO rowfs.slice (id, relation, groups, facts, keys, row_bytes, file_bytes)
		SELECT x.id, format('%I.%I', n.nspname, c.relname), x.groups, x.facts, x.keys, x.row_bytes, x.file_bytes
		  FROM jsonb_populate_recordset(NULL::rowfs.slice, definitions) x, pg_class c
		  JOIN pg_namespace n ON n.oid = c.relnamespace
		 WHERE c.oid = rel
		ON CONFLICT (id) DO UPDATE SET used = now(), relation = EXCLUDED.relation;
	fresh := ARRAY(SELECT id FROM rowfs.slice WHERE id = ANY (ids) AND NOT rowfs.is_true(id));
	IF EXISTS (SELECT FROM rowfs.without_triggers('watch', rel)) THEN
		-- rows may have come and gone that nobody counted
		others := ARRAY(SELECT id FROM rowfs.slice WHERE to_regclass(relation) = rel AND id <> ALL (ids));
		fresh := ids;
		UPDATE rowfs.slice SET built = false WHERE id = ANY (others);
	END IF;
	UPDATE rowfs.slice SET built = false WHERE id = ANY (fresh) AND built;
	DELETE FROM rowfs.doubt WHERE slice = ANY (fresh || old);
	DELETE FROM rowfs.delta WHERE slice = ANY (fresh || old);
	DELETE FROM rowfs.summary WHERE slice = ANY (fresh || old);
	PERFORM rowfs.watch(rel);
	RETURN QUERY SELECT unnest(fresh);
END
$$;

-- The definitions of a table: its own, or those of the table that it is a partition of.
CREATE OR REPLACE FUNCTION rowfs.notices_of(rel regclass) RETURNS SETOF rowfs.notice LANGUAGE sql STABLE
BEGIN ATOMIC
	WITH RECURSIVE up(rel) AS (
		SELECT rel::oid
		UNION
		SELECT i.inhparent FROM up JOIN pg_inherits i ON i.inhrelid = up.rel
	)
	SELECT n.* FROM rowfs.notice n JOIN up ON to_regclass(n.relation) = up.rel::regclass
	 ORDER BY n.id;
END;

-- All definitions of REL, without keys.
CREATE OR REPLACE FUNCTION rowfs.notice_nothing(rel regclass) RETURNS text LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT string_agg(format('"%s": null', n.id), ', ') FROM rowfs.notices_of(rel) n;
END;

-- Tells all mounts that anything in a table may have changed. To be called after what triggers do not see: partitions
-- that come or go with rows in them, a materialized view that is refreshed.
CREATE OR REPLACE FUNCTION rowfs.notify_all(rel regclass) RETURNS void LANGUAGE sql
BEGIN ATOMIC
	SELECT rowfs.send_notice(x, x) FROM rowfs.notice_nothing(rel) x WHERE x IS NOT NULL;
END;

-- SELECT over the rows of the transition table %1$s, ending with %2$s: p identifies a row, t1, t2 ... are its keys by each of TOP's
-- definitions, as text of a JSON array. What several definitions have in common is worked out once.
CREATE OR REPLACE FUNCTION rowfs.notice_source(top regclass) RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
	n rowfs.notice;
	known text[] := ARRAY(SELECT DISTINCT unnest(x.keys) COLLATE "C" FROM rowfs.notices_of(top) x ORDER BY 1);
	columns text := rowfs.notice_identity(top) || ' AS p';
	tuples text := 'x.p';
	i int := 0;
BEGIN
	FOR k IN 1..cardinality(known) LOOP
		columns := columns || format(', %s AS x%s', known[k], k);
	END LOOP;
	FOR n IN SELECT * FROM rowfs.notices_of(top) LOOP
		i := i + 1;
		tuples := tuples || format(', json_build_array(%s)::text AS t%s', (
			SELECT string_agg('x.x' || array_position(known, u.key), ', ' ORDER BY u.at)
			  FROM unnest(n.keys) WITH ORDINALITY u(key, at)), i);
	END LOOP;
	-- a subquery with OFFSET or LIMIT is not taken apart, and its columns are not worked out anew where they are used
	RETURN 'SELECT ' || tuples || ' FROM (SELECT ' || replace(columns, '%', '%%') || ' FROM %1$s r OFFSET 0) x %2$s';
END
$$;

-- The text of the trigger function of TOP, made of all its definitions. Most statements change one row, so they have a
-- query of their own, which sorts and gathers nothing. An UPDATE is measured by the rows that it takes away: not all of
-- them arrive where another partition's trigger drops them. To look at more than a thousand rows would cost a COPY too much: the
-- whole table is named. A mistake (a column that is gone) must not break the writer's statement: mounts are told that
-- anything may have changed.
CREATE OR REPLACE FUNCTION rowfs.notice_body(top regclass) RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
	source text := rowfs.notice_source(top);
	fresh text := format(source, 'fresh', 'OFFSET 0');
	stale text := format(source, 'stale', 'OFFSET 0');
	-- LIMIT: the planner need not think of what many rows would cost
	one_fresh text := format(source, 'fresh', 'LIMIT 1');
	one_stale text := format(source, 'stale', 'LIMIT 1');
	-- for each definition, what is told of: a row that came or went, one that changed, rows that came or went, rows that changed
	one_row text := quote_literal('');
	one_pair text := quote_literal('');
	more_rows text := quote_literal('');
	more_pairs text := quote_literal('');
	i int := 0;
	id text;
BEGIN
	FOR id IN SELECT x.id::text FROM rowfs.notices_of(top) x LOOP
		i := i + 1;
		id := format('%s"%s": ', CASE WHEN i > 1 THEN ', ' END, id);
		one_row := one_row || format($f$ || '%s{"n": [' || n.t%s || ']}'$f$, id, i);
		one_pair := one_pair || format($f$ || '%1$s' || CASE
			WHEN o.t%2$s <> n.t%2$s THEN '{"n": [' || o.t%2$s || ', '
			WHEN o.p *= n.p THEN '{"c": [' ELSE '{"n": [' END || n.t%2$s || ']}'$f$, id, i);
		more_rows := more_rows || format($f$ || '%s' || (SELECT rowfs.notice_keys(array_agg(k.t), NULL)
			FROM (SELECT DISTINCT n.t%s AS t FROM n) k)$f$, id, i);
		more_pairs := more_pairs || format($f$ || '%1$s' || (SELECT rowfs.notice_keys(
			array_agg(k.t) FILTER (WHERE k.moved), array_agg(k.t) FILTER (WHERE NOT k.moved))
			FROM (SELECT p.t, bool_or(p.more <> 0) AS moved
				FROM (SELECT n.t%2$s AS t, sum(n.sign) AS more FROM n GROUP BY n.t%2$s, n.p::text) p GROUP BY p.t) k)$f$,
			id, i);
	END LOOP;
	RETURN format($f$DECLARE
	what text;
	found int;
BEGIN
BEGIN
	IF TG_OP = 'INSERT' THEN
		SELECT %1$s INTO what FROM (%8$s) n WHERE NOT EXISTS (SELECT FROM fresh OFFSET 1);
	ELSIF TG_OP = 'UPDATE' THEN
		SELECT %2$s INTO what FROM (%9$s) o, (%8$s) n WHERE NOT EXISTS (SELECT FROM stale OFFSET 1);
	ELSIF TG_OP = 'DELETE' THEN
		SELECT %1$s INTO what FROM (%9$s) n WHERE NOT EXISTS (SELECT FROM stale OFFSET 1);
	END IF;
	IF what IS NULL AND TG_OP = 'INSERT' THEN
		SELECT count(*) INTO found FROM (SELECT FROM fresh LIMIT 1001) x;
	ELSIF what IS NULL AND TG_OP <> 'TRUNCATE' THEN
		SELECT count(*) INTO found FROM (SELECT FROM stale LIMIT 1001) x;
	END IF;
	IF found = 0 THEN
		RETURN NULL;
	ELSIF found <= 1000 AND TG_OP = 'INSERT' THEN
		WITH n AS MATERIALIZED (%5$s) SELECT %3$s INTO what;
	ELSIF found <= 1000 AND TG_OP = 'UPDATE' THEN
		WITH n AS MATERIALIZED (SELECT 1 AS sign, x.* FROM (%5$s) x UNION ALL SELECT -1, x.* FROM (%6$s) x)
		SELECT %4$s INTO what;
	ELSIF found <= 1000 THEN
		WITH n AS MATERIALIZED (%6$s) SELECT %3$s INTO what;
	END IF;
EXCEPTION WHEN OTHERS THEN
	what := NULL;
	RAISE WARNING 'rowfs: %%: mounts forget all they know of it with each statement, until it is mounted anew: %%',
		TG_RELID::regclass, SQLERRM;
END;
	PERFORM rowfs.send_notice(coalesce(what, %7$L), %7$L);
	RETURN NULL;
END$f$, one_row, one_pair, more_rows, more_pairs, fresh, stale, rowfs.notice_nothing(top),
		one_fresh, one_stale);
END
$$;

-- Adds definitions IDS of REL with their keys (a JSON array of arrays), and makes the triggers. Locks the table against writers until
-- the end of the transaction, where there is something to make.
CREATE OR REPLACE FUNCTION rowfs.tell(rel regclass, ids bigint[], keys jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	IF EXISTS (SELECT FROM pg_inherits i WHERE i.inhrelid = rel) THEN
		RAISE feature_not_supported USING
			MESSAGE = format('%s is a part of another table, whose statements do not tell it what they change', rel);
	END IF;
	EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', rel);
	-- definitions that no mount has asked for in a month
	DELETE FROM rowfs.notice WHERE to_regclass(relation) = rel AND used < now() - interval '30 days' AND id <> ALL (ids);
	INSERT INTO rowfs.notice (id, relation, keys)
		SELECT x.id, (SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c
		                JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = rel),
		       ARRAY(SELECT jsonb_array_elements_text(keys -> (x.i::int - 1)))
		  FROM unnest(ids) WITH ORDINALITY x(id, i)
		ON CONFLICT (id) DO UPDATE SET used = now(), relation = EXCLUDED.relation;
	PERFORM rowfs.tell(rel);
END
$$;

COMMIT;
