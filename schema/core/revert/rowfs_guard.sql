-- Revert rowfs_core:rowfs_guard from pg

BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp;

-- True if the triggers that count are what they must be.
CREATE OR REPLACE FUNCTION rowfs.is_watched(top regclass) RETURNS boolean LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT rowfs.has_triggers('watch', top, rowfs.watch_body(top));
END;

DROP FUNCTION rowfs.can_count(regclass);

-- What a mount's role needs besides the tables that it serves.
CREATE OR REPLACE FUNCTION rowfs.allow(role regrole) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	rel regclass;
BEGIN
	EXECUTE format('GRANT USAGE ON SCHEMA rowfs TO %s', role);
	FOR rel IN SELECT c.oid FROM pg_class c
	            WHERE c.relnamespace = 'rowfs'::regnamespace AND c.relkind IN ('r', 'p') AND c.relname <> 'mutex' LOOP
		EXECUTE format('GRANT SELECT ON %s TO %s', rel, role);
		EXECUTE format(CASE WHEN rel IN ('rowfs.slice'::regclass, 'rowfs.notice'::regclass) OR rel::text = 'rowfs.partitioned'
		               THEN 'REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON %s FROM %s'
		               ELSE 'GRANT INSERT, UPDATE, DELETE ON %s TO %s' END, rel, role);
	END LOOP;
END
$$;

-- The trigger function of KIND for TOP, if it is one that make_triggers() has made.
CREATE OR REPLACE FUNCTION rowfs.own_function(kind text, top regclass) RETURNS oid LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT p.oid FROM pg_proc p
	 WHERE p.pronamespace = 'rowfs'::regnamespace AND p.proname = rowfs.trigger_function(kind, top) AND p.pronargs = 0
	   AND p.proowner = rowfs.trigger_owner(top) AND p.prosecdef AND p.prolang = (SELECT l.oid FROM pg_language l WHERE l.lanname = 'plpgsql')
	   AND p.proconfig = ARRAY['search_path=pg_catalog, pg_temp', 'TimeZone=UTC', 'DateStyle=ISO, YMD', 'IntervalStyle=postgres',
	                           'extra_float_digits=1', 'bytea_output=hex'];
END;

-- Makes the triggers of KIND on TOP's family, where they are not, and gives their function the text BODY, which was made
-- while TOP was locked: definitions may have come before. What rowfs sends by itself, with rowfs.daemon on, it counts
-- itself, and tells itself if the session is that of a mount that tells. A function that somebody else has made goes, with
-- all triggers that call it: he could change it.
CREATE OR REPLACE FUNCTION rowfs.make_triggers(kind text, top regclass, body text) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	member regclass;
	t record;
	fn text := format('rowfs.%I', rowfs.trigger_function(kind, top));
	owner regrole := rowfs.trigger_owner(top);
	quiet text := format('WHEN (pg_catalog.current_setting(''rowfs.daemon'', true) IS DISTINCT FROM ''1''%s)',
		CASE WHEN kind = 'notice' THEN ' OR coalesce(pg_catalog.current_setting(''rowfs.mount'', true), '''') = ''''' END);
BEGIN
	IF NOT pg_has_role(rowfs.owner(), 'USAGE') THEN
		RAISE insufficient_privilege USING MESSAGE = format('triggers are made by %s, the owner of the schema rowfs, only', rowfs.owner());
	ELSIF NOT pg_has_role(owner, (SELECT c.relowner FROM pg_class c WHERE c.oid = top), 'USAGE') THEN
		RAISE insufficient_privilege USING MESSAGE = format('%s, who owns the schema rowfs, must be owner of %s, or a member of %s, who is',
			owner, top, (SELECT c.relowner::regrole FROM pg_class c WHERE c.oid = top));
	ELSIF NOT (has_schema_privilege(owner, 'rowfs', 'USAGE') AND has_table_privilege(owner, 'rowfs.delta', 'INSERT')
	           AND has_table_privilege(owner, 'rowfs.doubt', 'INSERT')) THEN
		RAISE insufficient_privilege USING MESSAGE = format('%s may not write what triggers count: SELECT rowfs.allow(%L)', owner, owner::text);
	END IF;
	IF to_regprocedure(fn || '()') IS NOT NULL AND rowfs.own_function(kind, top) IS NULL THEN
		EXECUTE format('DROP FUNCTION %s() CASCADE', fn);
	END IF;
	EXECUTE format('CREATE OR REPLACE FUNCTION %s() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER '
		'SET search_path = pg_catalog, pg_temp SET "TimeZone" = ''UTC'' SET "DateStyle" = ''ISO, YMD'' '
		'SET "IntervalStyle" = ''postgres'' SET extra_float_digits = 1 SET bytea_output = ''hex'' AS %L', fn, body);
	EXECUTE format('REVOKE ALL ON FUNCTION %s() FROM PUBLIC', fn);
	EXECUTE format('ALTER FUNCTION %s() OWNER TO %s', fn, owner);
	FOR member IN SELECT * FROM rowfs.without_triggers(kind, top) LOOP
		FOR t IN SELECT * FROM rowfs.triggers(kind) LOOP
			EXECUTE format('CREATE OR REPLACE TRIGGER %I %s ON %s %s FOR EACH STATEMENT %s EXECUTE FUNCTION %s()',
				t.name, t.event, member, 'REFERENCING ' || t.rows, CASE WHEN t.rows IS NOT NULL THEN quiet END, fn);
		END LOOP;
	END LOOP;
END
$$;

-- The text of the trigger function of TOP, made of all its slices. Most statements change one row: they are spared what
-- gathers many. An UPDATE is measured by the rows that it takes away: not all of them arrive where another partition's
-- trigger drops them. A mistake (a column that is gone) must not break the writer's statement: the slice is in doubt then.
CREATE OR REPLACE FUNCTION rowfs.watch_body(top regclass) RETURNS text LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	s rowfs.slice;
	e rowfs.expressions;
	body text := E'DECLARE one bigint; found int;\nBEGIN\n';
	name text := CASE WHEN (SELECT relkind FROM pg_class WHERE oid = top) = 'p' THEN top::oid::text ELSE '' END;
BEGIN
	body := body || format(E'IF TG_OP = ''TRUNCATE'' AND TG_WHEN = ''AFTER'' THEN\n'
		'	PERFORM set_config(''rowfs.truncated'', '''', true); RETURN NULL;\n'
		'ELSIF TG_OP = ''INSERT'' THEN\n	SELECT count(*) INTO found FROM (SELECT FROM fresh LIMIT 2) x;\n'
		'ELSIF TG_OP <> ''TRUNCATE'' THEN\n	SELECT count(*) INTO found FROM (SELECT FROM stale LIMIT 2) x;\n'
		'END IF;\nIF found = 0 THEN\n	RETURN NULL;\nEND IF;\n');
	FOR s IN SELECT * FROM rowfs.slices_of(top) LOOP
		e := rowfs.expressions_of(s);
		IF e IS NULL THEN
			body := body || format(E'INSERT INTO rowfs.doubt (slice, why) SELECT %1$s, ''a column that is gone''\n'
				' WHERE NOT EXISTS (SELECT FROM rowfs.doubt d WHERE d.slice = %1$s);\n', s.id);
			CONTINUE;
		END IF;
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
			rowfs.counting(s.id, e, '{fresh r}', '{1}', NULL),
			rowfs.counting(s.id, e, '{stale r}', '{-1}', NULL),
			rowfs.counting(s.id, e, '{fresh r,stale r}', '{1,-1}', NULL),
			top::oid, name,
			rowfs.counting(s.id, e, '{fresh r}', '{1}', NULL, true),
			rowfs.counting(s.id, e, '{stale r}', '{-1}', NULL, true),
			rowfs.counting(s.id, e, '{fresh r,stale r}', '{1,-1}', NULL, true));
	END LOOP;
	RETURN body || format(E'IF TG_OP = ''TRUNCATE'' AND TG_RELID::text = %L THEN\n'
		'	PERFORM set_config(''rowfs.truncated'', TG_RELID::text, true);\nEND IF;\nRETURN NULL;\nEND',
		name);
END
$$;

-- The text of the trigger function of TOP, made of all its definitions. Most statements change one row, so they have a
-- query of their own, which sorts and gathers nothing. An UPDATE is measured by the rows that it takes away: not all of
-- them arrive where another partition's trigger drops them. To look at more than a thousand rows would cost a COPY too much: the
-- whole table is named. A mistake (a column that is gone) must not break the writer's statement: mounts are told that
-- anything may have changed.
CREATE OR REPLACE FUNCTION rowfs.notice_body(top regclass) RETURNS text LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp AS $$
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
	total int := 0;
	n rowfs.notice;
	id text;
BEGIN
	FOR n IN SELECT * FROM rowfs.notices_of(top) LOOP
		total := total + 1;
		id := format('%s"%s": ', CASE WHEN total > 1 THEN ', ' END, n.id);
		IF rowfs.notice_texts(n) IS NULL THEN
			-- its columns are gone: anything may have changed
			id := format(' || %L', id || 'null');
			one_row := one_row || id;
			one_pair := one_pair || id;
			more_rows := more_rows || id;
			more_pairs := more_pairs || id;
			CONTINUE;
		END IF;
		i := i + 1;
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

-- Triggers that are there are made anew, and what was counted stays. Those of another's table are left to its owner.
DO $$
DECLARE
	t record;
BEGIN
	FOR t IN SELECT DISTINCT k.kind, to_regclass(k.relation) AS top
	           FROM (SELECT 'watch' AS kind, relation FROM rowfs.slice UNION SELECT 'notice', relation FROM rowfs.notice) k
	          WHERE to_regclass(k.relation) IS NOT NULL LOOP
		CONTINUE WHEN EXISTS (
			SELECT FROM rowfs.family(t.top) f(rel), rowfs.triggers(t.kind) n
			 WHERE NOT EXISTS (
				SELECT FROM pg_trigger g JOIN pg_proc p ON p.oid = g.tgfoid
				 WHERE g.tgrelid = f.rel AND g.tgname = n.name AND g.tgenabled IN ('O', 'A')
				   AND p.pronamespace = 'rowfs'::regnamespace AND p.proname = rowfs.trigger_function(t.kind, t.top)
				   AND p.proowner = rowfs.trigger_owner(t.top)));
		BEGIN
			EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', t.top);
			PERFORM rowfs.make_triggers(t.kind, t.top,
				CASE t.kind WHEN 'watch' THEN rowfs.watch_body(t.top) ELSE rowfs.notice_body(t.top) END);
		EXCEPTION WHEN insufficient_privilege THEN
			RAISE WARNING '%: its triggers are left as they are: %', t.top, SQLERRM;
		END;
	END LOOP;
END $$;

COMMIT;
