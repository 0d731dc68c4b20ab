-- Deploy rowfs:rowfs_notify to pg
-- requires: rowfs_streams
--
-- Notices: what mounts are told when a table changes. See docs/ARCHITECTURE.md, "Coherence".
--
-- A trigger for each kind of statement sends at most one notice a statement. Its text is JSON:
--   {"m": mount that made the change or null, "n": {id: {"n": [keys, ...], "c": [keys, ...]}, id: null}}
-- for each definition in rowfs.notice of the table: "n" are keys that appeared or vanished, "c" keys whose
-- rows have changed, null is any key.

BEGIN;

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

-- Sends a notice. A mount that changes something by itself gets it back with the answer, before the commit, and passes
-- it on when it is committed: a NOTIFY in the transaction would make all who commit wait for each other.
CREATE FUNCTION rowfs.send_notice(what jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	mount text := nullif(current_setting('rowfs.mount', true), '');
	payload text := jsonb_build_object('m', mount, 'n', what)::text;
BEGIN
	IF octet_length(payload) > 7900 THEN
		payload := jsonb_build_object('m', mount,
			'n', (SELECT jsonb_object_agg(k, NULL) FROM jsonb_object_keys(what) k))::text;
	END IF;
	IF mount IS NOT NULL THEN
		RAISE INFO USING MESSAGE = payload, ERRCODE = 'RF001';
	ELSE
		PERFORM pg_notify('rowfs', payload);
	END IF;
END
$$;

-- Tells all mounts that anything in a table may have changed. To be called after what triggers do not see: partitions
-- that come or go with rows in them, a materialized view that is refreshed.
CREATE FUNCTION rowfs.notify_all(rel regclass) RETURNS void LANGUAGE sql
BEGIN ATOMIC
	SELECT rowfs.send_notice(jsonb_object_agg(n.id, NULL)) FROM rowfs.notices_of(rel) n
	HAVING count(*) > 0;
END;

-- "columns of r as a JSON array": what tells whether a row is still the same under its keys. The primary key and the columns of
-- foreign keys, in both directions; without a primary key all of the row.
CREATE FUNCTION rowfs.notice_identity(top regclass) RETURNS text LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT CASE WHEN EXISTS (SELECT FROM pg_index i WHERE i.indrelid = top AND i.indisprimary)
	       THEN 'jsonb_build_array(' || (
			SELECT string_agg(format('r.%I', a.attname), ', ' ORDER BY a.attnum) FROM pg_attribute a
			 WHERE a.attrelid = top AND a.attnum > 0 AND NOT a.attisdropped
			   AND (EXISTS (SELECT FROM pg_index i WHERE i.indrelid = top AND i.indisprimary AND a.attnum = ANY (i.indkey))
			     OR EXISTS (SELECT FROM pg_constraint f WHERE f.contype = 'f'
			                 AND ((f.conrelid = top AND a.attnum = ANY (f.conkey))
			                   OR (f.confrelid = top AND a.attnum = ANY (f.confkey)))))) || ')'
	       ELSE 'to_jsonb(r)' END;
END;

-- The text of the trigger function of TOP, made of all its definitions. A mistake (a column that is gone) must not break the
-- writer's statement: mounts are told that anything may have changed.
CREATE FUNCTION rowfs.notice_body(top regclass) RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
	n rowfs.notice;
	body text;
	tuple text;
	nothing text := '';
	-- beyond so many keys, or rows, the whole table is named
	most_keys int := 50;
	most_rows int := 1000; -- to look at more of them would cost a COPY too much
	identity text := rowfs.notice_identity(top);
BEGIN
	body := format($f$DECLARE
	what jsonb := '{}';
	names jsonb;
	contents jsonb;
	many boolean := TG_OP = 'TRUNCATE';
BEGIN
BEGIN
	IF TG_OP = 'DELETE' THEN
		IF NOT EXISTS (SELECT FROM stale) THEN RETURN NULL; END IF;
		many := (SELECT count(*) FROM (SELECT FROM stale LIMIT %1$s) x) = %1$s;
	ELSIF TG_OP <> 'TRUNCATE' THEN
		IF NOT EXISTS (SELECT FROM fresh) THEN RETURN NULL; END IF;
		many := (SELECT count(*) FROM (SELECT FROM fresh LIMIT %1$s) x) = %1$s;
	END IF;
$f$, most_rows + 1);
	FOR n IN SELECT * FROM rowfs.notices_of(top) LOOP
		tuple := 'jsonb_build_array(' || array_to_string(n.keys, ', ') || ')';
		nothing := nothing || format('%L, NULL, ', n.id);
		body := body || format($f$	IF many THEN
		what := what || jsonb_build_object(%1$L, NULL);
	ELSE
		contents := NULL;
		IF TG_OP = 'INSERT' THEN
			SELECT jsonb_agg(x.k) INTO names FROM (SELECT DISTINCT %2$s AS k FROM fresh r LIMIT %3$s) x;
		ELSIF TG_OP = 'DELETE' THEN
			SELECT jsonb_agg(x.k) INTO names FROM (SELECT DISTINCT %2$s AS k FROM stale r LIMIT %3$s) x;
		ELSE
			WITH o AS (SELECT %2$s AS k, %4$s AS p FROM stale r), f AS (SELECT %2$s AS k, %4$s AS p FROM fresh r),
			moved AS (SELECT DISTINCT x.k FROM ((TABLE o EXCEPT TABLE f) UNION ALL (TABLE f EXCEPT TABLE o)) x LIMIT %3$s)
			SELECT (SELECT jsonb_agg(k) FROM moved),
			       (SELECT jsonb_agg(x.k) FROM (SELECT DISTINCT k FROM f EXCEPT TABLE moved LIMIT %3$s) x) INTO names, contents;
		END IF;
		IF jsonb_array_length(names) = %3$s OR jsonb_array_length(contents) = %3$s THEN
			what := what || jsonb_build_object(%1$L, NULL);
		ELSE
			what := what || jsonb_build_object(%1$L, jsonb_strip_nulls(jsonb_build_object('n', names, 'c', contents)));
		END IF;
	END IF;
$f$, n.id, tuple, most_keys + 1, identity);
	END LOOP;
	RETURN body || format($f$EXCEPTION WHEN OTHERS THEN
	what := jsonb_build_object(%s);
	RAISE WARNING 'rowfs: %%: mounts forget all they know of it with each statement, until it is mounted anew: %%',
		TG_RELID::regclass, SQLERRM;
END;
	PERFORM rowfs.send_notice(what);
	RETURN NULL;
END$f$, rtrim(nothing, ', '));
END
$$;

CREATE FUNCTION rowfs.notice_name(top regclass) RETURNS text LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT 'notice_' || top::oid;
END;

-- The triggers of REL that call FN, enabled.
CREATE FUNCTION rowfs.notice_triggers(rel regclass, fn text) RETURNS bigint LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT count(*) FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
	 WHERE t.tgrelid = rel AND t.tgname LIKE 'tell\_rowfs\_%' AND t.tgenabled IN ('O', 'A')
	   AND p.pronamespace = 'rowfs'::regnamespace AND p.proname = fn;
END;

-- What the trigger function of TOP is made of, in short; its comment. The number is that of rowfs.notice_body()'s text.
CREATE FUNCTION rowfs.notice_mark(top regclass) RETURNS text LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT '1:' || md5(coalesce(string_agg(n.id::text, ',' ORDER BY n.id), '')) FROM rowfs.notices_of(top) n;
END;

-- True if every member of TOP's family has the triggers, with the function as it must be.
CREATE FUNCTION rowfs.is_told(top regclass) RETURNS boolean LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT NOT EXISTS (SELECT FROM rowfs.family(top) f(rel) WHERE rowfs.notice_triggers(f.rel, rowfs.notice_name(top)) <> 4)
	   AND EXISTS (SELECT FROM pg_proc p WHERE p.pronamespace = 'rowfs'::regnamespace
	                  AND p.proname = rowfs.notice_name(top)
	                  AND obj_description(p.oid, 'pg_proc') = rowfs.notice_mark(top));
END;

CREATE FUNCTION rowfs.drop_notice_triggers(rel regclass) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	name text;
BEGIN
	FOR name IN SELECT g.tgname FROM pg_trigger g
	             WHERE g.tgrelid = rel AND NOT g.tgisinternal AND g.tgname LIKE 'tell\_rowfs\_%' LOOP
		EXECUTE format('DROP TRIGGER %I ON %s', name, rel);
	END LOOP;
END
$$;

-- Makes the triggers of a table and of all its partitions what they must be; nothing if they are.
-- To be called after partitions are made: DML that names a partition fires only the partition's own.
CREATE FUNCTION rowfs.tell(rel regclass) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	top regclass;
	member regclass;
	fn text;
	-- what rowfs appends by COPY it tells of by itself
	quiet text := 'WHEN (pg_catalog.current_setting(''rowfs.daemon'', true) IS DISTINCT FROM ''1'')';
BEGIN
	SELECT to_regclass(n.relation) INTO top FROM rowfs.notices_of(rel) n LIMIT 1;
	IF top IS NULL OR rowfs.is_told(top) THEN
		RETURN;
	END IF;
	EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', top);
	fn := format('rowfs.%I', rowfs.notice_name(top));
	EXECUTE format('CREATE OR REPLACE FUNCTION %s() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER '
		'SET search_path = pg_catalog, pg_temp SET "TimeZone" = ''UTC'' SET "DateStyle" = ''ISO, YMD'' '
		'SET "IntervalStyle" = ''postgres'' SET extra_float_digits = 1 SET bytea_output = ''hex'' AS %L',
		fn, rowfs.notice_body(top));
	EXECUTE format('REVOKE ALL ON FUNCTION %s() FROM PUBLIC', fn);
	EXECUTE format('COMMENT ON FUNCTION %s() IS %L', fn, rowfs.notice_mark(top));
	FOR member IN SELECT * FROM rowfs.family(top) LOOP
		CONTINUE WHEN rowfs.notice_triggers(member, rowfs.notice_name(top)) = 4;
		PERFORM rowfs.drop_notice_triggers(member);
		EXECUTE format('CREATE TRIGGER tell_rowfs_insert AFTER INSERT ON %s REFERENCING NEW TABLE AS fresh '
			'FOR EACH STATEMENT %s EXECUTE FUNCTION %s()', member, quiet, fn);
		EXECUTE format('CREATE TRIGGER tell_rowfs_update AFTER UPDATE ON %s REFERENCING OLD TABLE AS stale '
			'NEW TABLE AS fresh FOR EACH STATEMENT %s EXECUTE FUNCTION %s()', member, quiet, fn);
		EXECUTE format('CREATE TRIGGER tell_rowfs_delete AFTER DELETE ON %s REFERENCING OLD TABLE AS stale '
			'FOR EACH STATEMENT %s EXECUTE FUNCTION %s()', member, quiet, fn);
		EXECUTE format('CREATE TRIGGER tell_rowfs_truncate AFTER TRUNCATE ON %s FOR EACH STATEMENT '
			'EXECUTE FUNCTION %s()', member, fn);
	END LOOP;
	PERFORM rowfs.notify_all(top);
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
DECLARE
	member regclass;
BEGIN
	EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', rel);
	FOR member IN SELECT * FROM rowfs.family(rel) LOOP
		PERFORM rowfs.drop_notice_triggers(member);
	END LOOP;
	EXECUTE format('DROP FUNCTION IF EXISTS rowfs.%I()', rowfs.notice_name(rel));
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
