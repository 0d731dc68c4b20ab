-- Deploy rowfs_core:rowfs_proof to pg
-- requires: rowfs_guard
--
-- A session proves that it is a mount's: it has read what only roles of mounts can read. The functions of triggers know a hash of it, which
-- anybody may see. They compare, and no WHEN clause does: each statement pays more for a clause, which is read and planned anew, than for
-- the call, which most pay for anyway. Also what rowfs check compares.

BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp;

-- True if a session of a mount is there: it holds a lock under this number. Anybody may; it counts if his role may read rowfs.notice, or
-- may become one that does (as in schema/peers.c).
CREATE FUNCTION rowfs.is_mounted() RETURNS boolean LANGUAGE sql STABLE
BEGIN ATOMIC
	WITH held AS MATERIALIZED (
		SELECT DISTINCT a.usesysid FROM pg_locks l LEFT JOIN pg_stat_get_activity(NULL) a ON a.pid = l.pid
		 WHERE l.locktype = 'advisory' AND l.classid = 1919316737 AND l.objsubid = 2 AND l.granted AND l.mode = 'ShareLock'
		   AND l.pid IS NOT NULL AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()))
	SELECT EXISTS (
		SELECT FROM held h WHERE h.usesysid IS NULL OR EXISTS (
			SELECT FROM pg_roles r WHERE pg_has_role(h.usesysid, r.oid, 'MEMBER')
			   AND has_table_privilege(r.oid, 'rowfs.notice', 'SELECT')));
END;

-- Mounts of the version before would count what the triggers count, too.
DO $$ BEGIN
	IF rowfs.is_mounted() THEN
		RAISE object_in_use USING MESSAGE = 'this database is mounted: unmount it first, and mount it again after the upgrade';
	END IF;
END $$;

CREATE TABLE rowfs.secret (
	one   boolean PRIMARY KEY DEFAULT true CHECK (one),
	proof text NOT NULL DEFAULT replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', '')
);
COMMENT ON TABLE rowfs.secret IS
	'For roles of mounts alone: a session that knows it is a mount''s, and triggers leave to it what it counts and tells';
INSERT INTO rowfs.secret DEFAULT VALUES;

-- Those that may read what mounts read are roles of mounts.
DO $$
DECLARE
	grantee regrole;
BEGIN
	FOR grantee IN SELECT a.grantee FROM pg_class c, aclexplode(c.relacl) a
	                WHERE c.oid = 'rowfs.notice'::regclass AND a.privilege_type = 'SELECT' AND a.grantee NOT IN (0, c.relowner) LOOP
		EXECUTE format('GRANT SELECT ON rowfs.secret TO %s', grantee);
	END LOOP;
END $$;

-- The hash of the proof, in hex. Nobody finds a text for it.
CREATE FUNCTION rowfs.proof_hash() RETURNS text LANGUAGE sql STABLE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT encode(sha256(convert_to(s.proof, 'UTF8')), 'hex') FROM rowfs.secret s;
END;

-- A condition: SETTING has the proof. NULL in a session that has not set it.
CREATE FUNCTION rowfs.is_proven(setting text) RETURNS text LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT format('pg_catalog.sha256(pg_catalog.convert_to(pg_catalog.current_setting(%L, true), ''UTF8'')) = %L::pg_catalog.bytea',
		setting, '\x' || rowfs.proof_hash());
END;

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
		EXECUTE format('REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON %s FROM %s', rel, role);
		CONTINUE WHEN rel IN ('rowfs.slice'::regclass, 'rowfs.notice'::regclass, 'rowfs.secret'::regclass) OR rel::text = 'rowfs.partitioned';
		EXECUTE format(CASE WHEN rel IN ('rowfs.delta'::regclass, 'rowfs.doubt'::regclass)
		               THEN 'GRANT INSERT ON %s TO %s' ELSE 'GRANT INSERT, UPDATE, DELETE ON %s TO %s' END, rel, role);
	END LOOP;
END
$$;

-- The members of TOP's family that lack one of its triggers, or on which one is not enabled, or has a condition of its own.
CREATE OR REPLACE FUNCTION rowfs.without_triggers(kind text, top regclass) RETURNS SETOF regclass LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT DISTINCT f.rel FROM rowfs.family(top) f(rel), rowfs.triggers(kind) t
	 WHERE NOT EXISTS (
		SELECT FROM pg_trigger g
		 WHERE g.tgrelid = f.rel AND g.tgname = t.name AND g.tgenabled IN ('O', 'A') AND g.tgqual IS NULL
		   AND g.tgfoid = rowfs.own_function(kind, top));
END;

-- Makes the triggers of KIND on TOP's family, where they are not, and gives their function the text BODY, which was made
-- while TOP was locked: definitions may have come before. A function that somebody else has made goes, with all
-- triggers that call it: he could change it. The function waits for no lock of another for long: it goes by what it does after a mistake.
CREATE OR REPLACE FUNCTION rowfs.make_triggers(kind text, top regclass, body text) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	member regclass;
	t record;
	fn text := format('rowfs.%I', rowfs.trigger_function(kind, top));
	owner regrole := rowfs.trigger_owner(top);
BEGIN
	IF NOT pg_has_role(rowfs.owner(), 'USAGE') THEN
		RAISE insufficient_privilege USING MESSAGE = format('triggers are made by %s, the owner of the schema rowfs, only', rowfs.owner());
	ELSIF NOT pg_has_role(owner, (SELECT c.relowner FROM pg_class c WHERE c.oid = top), 'USAGE') THEN
		RAISE insufficient_privilege USING MESSAGE = format('%s, who owns the schema rowfs, must be owner of %s, or a member of %s, who is',
			owner, top, (SELECT c.relowner::regrole FROM pg_class c WHERE c.oid = top));
	ELSIF NOT (has_schema_privilege(owner, 'rowfs', 'USAGE') AND has_table_privilege(owner, 'rowfs.delta', 'INSERT')
	           AND has_table_privilege(owner, 'rowfs.doubt', 'INSERT') AND has_table_privilege(owner, 'rowfs.secret', 'SELECT')) THEN
		RAISE insufficient_privilege USING MESSAGE = format('%s may not write what triggers count, or read what mounts read: SELECT rowfs.allow(%L)',
			owner, owner::text);
	END IF;
	-- what has the right owner is replaced, settings and all: to drop its triggers would take a lock that readers wait for
	IF EXISTS (SELECT FROM pg_proc p WHERE p.oid = to_regprocedure(fn || '()')
	              AND (p.proowner <> owner OR p.prokind <> 'f' OR p.prorettype <> 'trigger'::regtype)) THEN
		EXECUTE format('DROP ROUTINE %s() CASCADE', fn);
	END IF;
	EXECUTE format('CREATE OR REPLACE FUNCTION %s() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER '
		'SET search_path = pg_catalog, pg_temp SET "TimeZone" = ''UTC'' SET "DateStyle" = ''ISO, YMD'' '
		'SET "IntervalStyle" = ''postgres'' SET extra_float_digits = 1 SET bytea_output = ''hex'' '
		'SET lock_timeout = ''1s'' AS %L', fn, body);
	EXECUTE format('REVOKE ALL ON FUNCTION %s() FROM PUBLIC', fn);
	EXECUTE format('ALTER FUNCTION %s() OWNER TO %s', fn, owner);
	FOR member IN SELECT * FROM rowfs.without_triggers(kind, top) LOOP
		FOR t IN SELECT * FROM rowfs.triggers(kind) LOOP
			EXECUTE format('CREATE OR REPLACE TRIGGER %I %s ON %s %s FOR EACH STATEMENT EXECUTE FUNCTION %s()',
				t.name, t.event, member, 'REFERENCING ' || t.rows, fn);
		END LOOP;
	END LOOP;
END
$$;

-- Sends a notice of WHAT, members of a JSON object as text; if that is too long, of NOTHING, the same without keys.
CREATE OR REPLACE FUNCTION rowfs.send_notice(what text, nothing text) RETURNS void LANGUAGE sql
BEGIN ATOMIC
	SELECT pg_notify('rowfs', '{"m": null, "n": {' || CASE WHEN octet_length(what) > 7800 THEN nothing ELSE what END || '}}');
END;

-- The text of the trigger function of TOP, made of all its slices. Most statements change one row: they are spared what
-- gathers many. An UPDATE is measured by the rows that it takes away: not all of them arrive where another partition's
-- trigger drops them. A mistake (a column that is gone, a right that is taken away) must not break the writer's statement: the slice
-- is in doubt then. What a mount sends with the proof in rowfs.daemon it counts itself. Where not even that can be noted, can_count() tells mounts, and rowfs check compares. The handler, not the body, has a
-- block of its own for that: a block costs a subtransaction, and each writer has 64 of them until all snapshots become slow.
CREATE OR REPLACE FUNCTION rowfs.watch_body(top regclass) RETURNS text LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	s rowfs.slice;
	e rowfs.expressions;
	body text := E'DECLARE one bigint; found int; what text;\nBEGIN\n';
	noted text := $f$EXCEPTION WHEN OTHERS THEN
	what := SQLERRM;
	BEGIN
		INSERT INTO rowfs.doubt (slice, why) SELECT one, what
		 WHERE NOT EXISTS (SELECT FROM rowfs.doubt d WHERE d.slice = one);
		RAISE WARNING 'rowfs: %: the sizes of its files are summed until they are counted anew (rowfs check): %',
			TG_RELID::regclass, what;
	EXCEPTION WHEN OTHERS THEN
		RAISE WARNING 'rowfs: %: the sizes of its files are wrong until they are counted anew (rowfs check): %',
			TG_RELID::regclass, what;
	END;
END;
$f$;
	name text := CASE WHEN (SELECT relkind FROM pg_class WHERE oid = top) = 'p' THEN top::oid::text ELSE '' END;
BEGIN
	body := body || format(E'IF TG_OP <> ''TRUNCATE'' AND %s THEN\n	RETURN NULL;\nEND IF;\n', rowfs.is_proven('rowfs.daemon'))
		|| format(E'IF TG_OP = ''TRUNCATE'' AND TG_WHEN = ''AFTER'' THEN\n'
		'	PERFORM set_config(''rowfs.truncated'', '''', true); RETURN NULL;\n'
		'ELSIF TG_OP = ''INSERT'' THEN\n	SELECT count(*) INTO found FROM (SELECT FROM fresh LIMIT 2) x;\n'
		'ELSIF TG_OP <> ''TRUNCATE'' THEN\n	SELECT count(*) INTO found FROM (SELECT FROM stale LIMIT 2) x;\n'
		'END IF;\nIF found = 0 THEN\n	RETURN NULL;\nEND IF;\n');
	FOR s IN SELECT * FROM rowfs.slices_of(top) LOOP
		e := rowfs.expressions_of(s);
		IF e IS NULL THEN
			body := body || format(E'one := %s;\nBEGIN\n	RAISE undefined_column USING MESSAGE = ''a column that is gone'';\n', s.id) || noted;
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
$f$,
			s.id,
			rowfs.counting(s.id, e, '{fresh r}', '{1}', NULL),
			rowfs.counting(s.id, e, '{stale r}', '{-1}', NULL),
			rowfs.counting(s.id, e, '{fresh r,stale r}', '{1,-1}', NULL),
			top::oid, name,
			rowfs.counting(s.id, e, '{fresh r}', '{1}', NULL, true),
			rowfs.counting(s.id, e, '{stale r}', '{-1}', NULL, true),
			rowfs.counting(s.id, e, '{fresh r,stale r}', '{1,-1}', NULL, true)) || noted;
	END LOOP;
	RETURN body || format(E'IF TG_OP = ''TRUNCATE'' AND TG_RELID::text = %L THEN\n'
		'	PERFORM set_config(''rowfs.truncated'', TG_RELID::text, true);\nEND IF;\nRETURN NULL;\nEND',
		name);
END
$$;

-- The text of the trigger function of TOP, made of all its definitions. Most statements change one row, so they have a
-- query of their own, which sorts and gathers nothing. An UPDATE is measured by the rows that it takes away: not all of
-- them arrive where another partition's trigger drops them. To look at more than a thousand rows would cost a COPY too much: the
-- whole table is named. A mistake (a column that is gone, a right that is taken away, another's lock
-- on a parent's table) must not break the writer's statement: mounts are told that anything may have changed, by what needs no right. What
-- a mount sends with the proof in rowfs.daemon, too, it tells itself. A mount that changes something by itself gets it back with the answer, before the commit, and passes it on when it is committed: a NOTIFY in
-- the transaction would make all who commit wait for each other.
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
	mount text := CASE WHEN %10$s THEN nullif(current_setting('rowfs.mount', true), '') END;
	beginning text := '{"m": ' || coalesce(to_json(mount)::text, 'null') || ', "n": {';
BEGIN
	IF mount IS NOT NULL AND TG_OP <> 'TRUNCATE' AND %11$s THEN
		RETURN NULL;
	END IF;
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
	what := beginning || what || '}}';
	IF what IS NULL OR octet_length(what) > 7900 THEN
		what := beginning || %7$L || '}}';
	END IF;
	IF mount IS NOT NULL THEN
		RAISE INFO USING MESSAGE = what, ERRCODE = 'RF001';
	ELSE
		PERFORM pg_notify('rowfs', what);
	END IF;
	RETURN NULL;
EXCEPTION WHEN OTHERS THEN
	what := format('{"m": %%s, "all": true}', coalesce(to_json(mount)::text, 'null'));
	IF mount IS NOT NULL THEN
		RAISE INFO USING MESSAGE = what, ERRCODE = 'RF001';
	ELSE
		PERFORM pg_notify('rowfs', what);
	END IF;
	RAISE WARNING 'rowfs: %%: mounts forget all that they know with each such statement: %%', TG_RELID::regclass, SQLERRM;
	RETURN NULL;
END$f$, one_row, one_pair, more_rows, more_pairs, fresh, stale, rowfs.notice_nothing(top),
		one_fresh, one_stale, rowfs.is_proven('rowfs.proof'), rowfs.is_proven('rowfs.daemon'));
END
$$;

-- A mount of the version before does not know how to prove itself. It finds neither function, sums the rows, and goes by time.
ALTER FUNCTION rowfs.is_told(regclass) RENAME TO tells;
ALTER FUNCTION rowfs.takes_rows_as_sent(regclass) RENAME TO rows_arrive_as_sent;

-- Makes them so, on a table and all its partitions. To be called after partitions are made: DML that names a partition
-- fires only the partition's own.
CREATE OR REPLACE FUNCTION rowfs.tell(rel regclass) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	top regclass := (SELECT to_regclass(n.relation) FROM rowfs.notices_of(rel) n LIMIT 1);
BEGIN
	IF top IS NOT NULL AND NOT rowfs.tells(top) THEN
		EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', top);
		PERFORM rowfs.make_triggers('notice', top, rowfs.notice_body(top));
		PERFORM rowfs.notify_all(top);
	END IF;
END
$$;

-- How many files of slice ONE have other rows or bytes than the summary says. One look at the database: what is written meanwhile is in
-- neither. NULL where row security hides rows from who asks.
CREATE FUNCTION rowfs.differing(one bigint) RETURNS bigint LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET "TimeZone" = 'UTC' SET "DateStyle" = 'ISO, YMD' SET "IntervalStyle" = 'postgres'
SET extra_float_digits = 1 SET bytea_output = 'hex' AS $$
DECLARE
	s rowfs.slice;
	n bigint;
BEGIN
	SELECT * INTO STRICT s FROM rowfs.slice WHERE id = one;
	IF EXISTS (SELECT FROM rowfs.family(to_regclass(s.relation)) f(rel) WHERE row_security_active(f.rel)) THEN
		RETURN NULL;
	END IF;
	EXECUTE format('SELECT count(*) FROM (SELECT u.k1, u.k2, u.k3, u.k4, sum(u.rows) AS rows, sum(u.bytes) AS bytes '
		'FROM (SELECT * FROM rowfs.summary WHERE slice = %1$s UNION ALL SELECT * FROM rowfs.delta WHERE slice = %1$s) u '
		'GROUP BY 1, 2, 3, 4) told FULL JOIN (%2$s) there USING (k1, k2, k3, k4) '
		'WHERE coalesce(told.rows, 0) <> coalesce(there.rows, 0) OR coalesce(told.bytes, 0) <> coalesce(there.bytes, 0)',
		one, rowfs.counting(s, ARRAY[s.relation || ' r'], '{1}', NULL)) INTO n;
	RETURN n;
END
$$;

-- Functions of schema/partitioned move rows that stay in their files.
DO $$
DECLARE
	fn regprocedure;
BEGIN
	FOR fn IN SELECT p.oid FROM pg_proc p WHERE p.pronamespace = 'rowfs'::regnamespace AND p.proname IN ('make_partition', 'rebuild')
	             AND p.prosrc LIKE '%set_config(''rowfs.daemon'', ''1'', true)%' LOOP
		EXECUTE replace(pg_get_functiondef(fn), 'set_config(''rowfs.daemon'', ''1'', true)',
			'set_config(''rowfs.daemon'', s.proof, true) FROM rowfs.secret s');
	END LOOP;
END $$;

-- Triggers that are there are made anew, and what was counted stays. Those of another's table are left to its owner: mounts do not go by
-- them. Where one was missing, the next mount counts anew, as it would have: it stays away.
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
				SELECT FROM pg_trigger g WHERE g.tgrelid = f.rel AND g.tgname = n.name AND g.tgenabled IN ('O', 'A')
				   AND g.tgfoid = rowfs.own_function(t.kind, t.top)));
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
