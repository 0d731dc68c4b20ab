-- Deploy rowfs_core:rowfs_owners to pg
-- requires: rowfs_locks
--
-- Whose the things in this schema are: nobody but its owner makes any, and what somebody else has made is not used.

BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp;

-- What a table's owner may have been given, so that his triggers could be made.
DO $$
DECLARE
	grantee text;
BEGIN
	FOR grantee IN SELECT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END
	                 FROM pg_namespace n, aclexplode(n.nspacl) a
	                WHERE n.nspname = 'rowfs' AND a.privilege_type = 'CREATE' AND a.grantee <> n.nspowner LOOP
		EXECUTE format('REVOKE CREATE ON SCHEMA rowfs FROM %s CASCADE', grantee);
	END LOOP;
END $$;

-- The owner of this schema.
CREATE FUNCTION rowfs.owner() RETURNS regrole LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT n.nspowner::regrole FROM pg_namespace n WHERE n.nspname = 'rowfs';
END;

-- The owner that a trigger function of TOP must have: this schema's. If he is a superuser, the table's, so that what the table's owner has made
-- (casts, policies) does not run as a superuser.
CREATE FUNCTION rowfs.trigger_owner(top regclass) RETURNS regrole LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT CASE WHEN r.rolsuper THEN (SELECT c.relowner FROM pg_class c WHERE c.oid = top)::regrole ELSE rowfs.owner() END
	  FROM pg_roles r WHERE r.oid = rowfs.owner();
END;

-- The trigger function of KIND for TOP, if it is one that make_triggers() has made.
CREATE FUNCTION rowfs.own_function(kind text, top regclass) RETURNS oid LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT p.oid FROM pg_proc p
	 WHERE p.pronamespace = 'rowfs'::regnamespace AND p.proname = rowfs.trigger_function(kind, top) AND p.pronargs = 0
	   AND p.proowner = rowfs.trigger_owner(top) AND p.prosecdef AND p.prolang = (SELECT l.oid FROM pg_language l WHERE l.lanname = 'plpgsql')
	   AND p.proconfig = ARRAY['search_path=pg_catalog, pg_temp', 'TimeZone=UTC', 'DateStyle=ISO, YMD', 'IntervalStyle=postgres',
	                           'extra_float_digits=1', 'bytea_output=hex'];
END;

-- The members of TOP's family that lack one of its triggers, or on which one is not enabled.
CREATE OR REPLACE FUNCTION rowfs.without_triggers(kind text, top regclass) RETURNS SETOF regclass LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT DISTINCT f.rel FROM rowfs.family(top) f(rel), rowfs.triggers(kind) t
	 WHERE NOT EXISTS (
		SELECT FROM pg_trigger g
		 WHERE g.tgrelid = f.rel AND g.tgname = t.name AND g.tgenabled IN ('O', 'A') AND g.tgfoid = rowfs.own_function(kind, top));
END;

-- True if none lacks any, and the text of their function is BODY.
CREATE OR REPLACE FUNCTION rowfs.has_triggers(kind text, top regclass, body text) RETURNS boolean LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT NOT EXISTS (SELECT FROM rowfs.without_triggers(kind, top))
	   AND EXISTS (SELECT FROM pg_proc p WHERE p.oid = rowfs.own_function(kind, top) AND p.prosrc = body);
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

-- Takes the triggers of KIND, or of all kinds, off TOP's family, or off every table; and removes the functions that are
-- called no more.
CREATE OR REPLACE FUNCTION rowfs.drop_triggers(top regclass, kind text DEFAULT NULL) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	t record;
	functions text := format('^%s_[0-9]+$', coalesce(kind, '(watch|notice)'));
BEGIN
	FOR t IN SELECT g.tgname, g.tgrelid::regclass AS rel FROM pg_trigger g JOIN pg_proc p ON p.oid = g.tgfoid
	          WHERE p.pronamespace = 'rowfs'::regnamespace AND p.proname ~ functions
	            AND (top IS NULL OR g.tgrelid IN (SELECT rowfs.family(top))) LOOP
		EXECUTE format('DROP TRIGGER %I ON %s', t.tgname, t.rel);
	END LOOP;
	FOR t IN SELECT p.oid::regprocedure AS fn FROM pg_proc p
	          WHERE p.pronamespace = 'rowfs'::regnamespace AND p.proname ~ functions
	            AND NOT EXISTS (SELECT FROM pg_trigger g WHERE g.tgfoid = p.oid)
	            AND (pg_has_role(p.proowner, 'USAGE') OR pg_has_role(rowfs.owner(), 'USAGE')) LOOP
		EXECUTE format('DROP FUNCTION %s', t.fn);
	END LOOP;
END
$$;

-- What stands here under such a name, and was made by somebody else.
DO $$
DECLARE
	fn regprocedure;
BEGIN
	FOR fn IN SELECT p.oid FROM pg_proc p WHERE p.pronamespace = 'rowfs'::regnamespace AND p.proname ~ '^(watch|notice)_[0-9]+$'
	             AND p.proowner <> rowfs.owner() LOOP
		EXECUTE format('DROP FUNCTION %s CASCADE', fn);
	END LOOP;
END $$;

COMMIT;
