-- Deploy rowfs_core:rowfs_notify to pg
-- requires: rowfs_streams
--
-- Notices: what mounts are told when a table changes. See docs/ARCHITECTURE.md, "Coherence".
--
-- A trigger for each kind of statement sends at most one notice a statement. Its text is JSON:
--   {"m": mount that made the change or null, "n": {id: {"n": [keys, ...], "c": [keys, ...]}, id: null}}
-- for each definition in rowfs.notice of the table: "n" are keys that appeared or vanished, "c" keys whose
-- rows have changed, null is any key.

BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp;

-- What mounts want to be told of a table. `keys` are expressions over the row r.
CREATE TABLE rowfs.notice (
	id       bigint PRIMARY KEY,    -- a hash of the definition
	relation text NOT NULL,         -- "schema"."name"
	keys     text[] NOT NULL,
	used     timestamptz NOT NULL DEFAULT now()
);

-- The definitions of a table: its own, or those of the table that it is a partition of.
CREATE FUNCTION rowfs.notices_of(rel regclass) RETURNS SETOF rowfs.notice LANGUAGE sql STABLE
BEGIN ATOMIC
	WITH RECURSIVE up(rel) AS (
		SELECT rel::oid
		UNION
		SELECT i.inhparent FROM up JOIN pg_inherits i ON i.inhrelid = up.rel
	)
	SELECT n.* FROM rowfs.notice n JOIN up ON to_regclass(n.relation) = up.rel::regclass
	 ORDER BY n.id;
END;

-- Sends a notice of WHAT, members of a JSON object as text; if that is too long, of NOTHING, the same without keys. A
-- mount that changes something by itself gets it back with the answer, before the commit, and passes it on when it is
-- committed: a NOTIFY in the transaction would make all who commit wait for each other.
CREATE FUNCTION rowfs.send_notice(what text, nothing text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	mount text := nullif(current_setting('rowfs.mount', true), '');
	beginning text := '{"m": ' || coalesce(to_json(mount)::text, 'null') || ', "n": {';
	payload text := beginning || what || '}}';
BEGIN
	IF octet_length(payload) > 7900 THEN
		payload := beginning || nothing || '}}';
	END IF;
	IF mount IS NOT NULL THEN
		RAISE INFO USING MESSAGE = payload, ERRCODE = 'RF001';
	ELSE
		PERFORM pg_notify('rowfs', payload);
	END IF;
END
$$;

-- All definitions of REL, without keys.
CREATE FUNCTION rowfs.notice_nothing(rel regclass) RETURNS text LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT string_agg(format('"%s": null', n.id), ', ') FROM rowfs.notices_of(rel) n;
END;

-- Tells all mounts that anything in a table may have changed. To be called after what triggers do not see: partitions
-- that come or go with rows in them, a materialized view that is refreshed.
CREATE FUNCTION rowfs.notify_all(rel regclass) RETURNS void LANGUAGE sql
BEGIN ATOMIC
	SELECT rowfs.send_notice(x, x) FROM rowfs.notice_nothing(rel) x WHERE x IS NOT NULL;
END;

-- What tells, of a row r, whether it is still the same under its keys: its primary key and the columns of foreign keys,
-- in both directions; without a primary key all of it.
CREATE FUNCTION rowfs.notice_identity(top regclass) RETURNS text LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT CASE WHEN EXISTS (SELECT FROM pg_index i WHERE i.indrelid = top AND i.indisprimary)
	       THEN 'ROW(' || (
			SELECT string_agg(format('r.%I', a.attname), ', ' ORDER BY a.attnum) FROM pg_attribute a
			 WHERE a.attrelid = top AND a.attnum > 0 AND NOT a.attisdropped
			   AND (EXISTS (SELECT FROM pg_index i WHERE i.indrelid = top AND i.indisprimary AND a.attnum = ANY (i.indkey))
			     OR EXISTS (SELECT FROM pg_constraint f WHERE f.contype = 'f'
			                 AND ((f.conrelid = top AND a.attnum = ANY (f.conkey))
			                   OR (f.confrelid = top AND a.attnum = ANY (f.confkey)))))) || ')'
	       ELSE 'r' END;
END;

-- SELECT over the rows of the transition table %1$s, ending with %2$s: p identifies a row, t1, t2 ... are its keys by each of TOP's
-- definitions, as text of a JSON array. What several definitions have in common is worked out once.
CREATE FUNCTION rowfs.notice_source(top regclass) RETURNS text LANGUAGE plpgsql STABLE AS $$
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

-- What is told of a definition whose keys NAMES have another row than before, and keys CONTENTS a row that has changed.
-- Beyond 50 keys the whole table is named.
CREATE FUNCTION rowfs.notice_keys(names text[], contents text[]) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
	RETURN CASE WHEN greatest(cardinality(names), cardinality(contents)) > 50 THEN 'null'
	       ELSE '{' || concat_ws(', ', '"n": [' || array_to_string(names, ', ') || ']',
	                                  '"c": [' || array_to_string(contents, ', ') || ']') || '}' END;
END
$$;

-- The text of the trigger function of TOP, made of all its definitions. Most statements change one row, so they have a
-- query of their own, which sorts and gathers nothing. An UPDATE is measured by the rows that it takes away: not all of
-- them arrive where another partition's trigger drops them. To look at more than a thousand rows would cost a COPY too much: the
-- whole table is named. A mistake (a column that is gone) must not break the writer's statement: mounts are told that
-- anything may have changed.
CREATE FUNCTION rowfs.notice_body(top regclass) RETURNS text LANGUAGE plpgsql STABLE AS $$
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

-- True if the triggers that tell are what they must be.
CREATE FUNCTION rowfs.is_told(top regclass) RETURNS boolean LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT rowfs.has_triggers('notice', top, rowfs.notice_body(top));
END;

-- Makes them so, on a table and all its partitions. To be called after partitions are made: DML that names a partition
-- fires only the partition's own.
CREATE FUNCTION rowfs.tell(rel regclass) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	top regclass := (SELECT to_regclass(n.relation) FROM rowfs.notices_of(rel) n LIMIT 1);
BEGIN
	IF top IS NOT NULL AND NOT rowfs.is_told(top) THEN
		EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', top);
		PERFORM rowfs.make_triggers('notice', top, rowfs.notice_body(top));
		PERFORM rowfs.notify_all(top);
	END IF;
END
$$;

-- Adds definitions IDS of REL with their keys (a JSON array of arrays), and makes the triggers. Locks the table against writers until
-- the end of the transaction, where there is something to make.
CREATE FUNCTION rowfs.tell(rel regclass, ids bigint[], keys jsonb) RETURNS void LANGUAGE plpgsql AS $$
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

-- Removes all that rowfs.tell() made for a table; mounts go by time then, as soon as they are mounted anew.
CREATE FUNCTION rowfs.untell(rel regclass) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', rel);
	PERFORM rowfs.drop_triggers(rel, 'notice');
	DELETE FROM rowfs.notice WHERE to_regclass(relation) = rel;
END
$$;

-- The tables that a view's rows come from, NULL among them if something else has a say: a function whose answer changes by itself or that
-- reads what it likes, a foreign table, a materialized view.
CREATE FUNCTION rowfs.sources(top regclass) RETURNS SETOF regclass LANGUAGE sql STABLE
BEGIN ATOMIC
	WITH RECURSIVE used(rel, fn) AS (
		SELECT top::oid, NULL::oid
		UNION
		SELECT CASE WHEN d.refclassid = 'pg_class'::regclass THEN d.refobjid END,
		       CASE WHEN d.refclassid = 'pg_proc'::regclass THEN d.refobjid END
		  FROM used u JOIN pg_rewrite w ON w.ev_class = u.rel AND w.ev_type = '1'
		  JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid
		   AND d.refclassid IN ('pg_class'::regclass, 'pg_proc'::regclass)
	)
	SELECT DISTINCT CASE WHEN c.relkind IN ('r', 'p') THEN c.oid::regclass END
	  FROM used u LEFT JOIN pg_class c ON c.oid = u.rel
	 WHERE coalesce(c.relkind, 'f') <> 'v'
	   AND (u.fn IS NULL OR (SELECT p.provolatile FROM pg_proc p WHERE p.oid = u.fn) <> 'i')
	   AND coalesce(c.relkind, 'r') NOT IN ('S', 'c', 'i')
	UNION
	-- functions of PostgreSQL's own are not in pg_depend
	SELECT NULL FROM used u JOIN pg_rewrite w ON w.ev_class = u.rel
	 WHERE w.ev_action::text LIKE '%SQLVALUEFUNCTION%' OR EXISTS (
		SELECT FROM regexp_matches(w.ev_action::text, ':(?:funcid|opfuncid) (\d+)', 'g') m
		  JOIN pg_proc p ON p.oid = m[1]::oid
		 WHERE p.provolatile = 'v' OR p.proname IN ('now', 'transaction_timestamp', 'statement_timestamp', 'current_setting',
		       'age', 'pg_relation_size', 'pg_total_relation_size', 'txid_current_snapshot', 'pg_current_snapshot'));
END;

COMMIT;
