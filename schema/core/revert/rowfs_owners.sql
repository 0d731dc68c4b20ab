-- Revert rowfs_core:rowfs_owners from pg

BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp;

CREATE OR REPLACE FUNCTION rowfs.without_triggers(kind text, top regclass) RETURNS SETOF regclass LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT DISTINCT f.rel FROM rowfs.family(top) f(rel), rowfs.triggers(kind) t
	 WHERE NOT EXISTS (
		SELECT FROM pg_trigger g JOIN pg_proc p ON p.oid = g.tgfoid
		 WHERE g.tgrelid = f.rel AND g.tgname = t.name AND g.tgenabled IN ('O', 'A')
		   AND p.pronamespace = 'rowfs'::regnamespace AND p.proname = rowfs.trigger_function(kind, top));
END;

CREATE OR REPLACE FUNCTION rowfs.has_triggers(kind text, top regclass, body text) RETURNS boolean LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT NOT EXISTS (SELECT FROM rowfs.without_triggers(kind, top))
	   AND EXISTS (SELECT FROM pg_proc p WHERE p.pronamespace = 'rowfs'::regnamespace
	                  AND p.proname = rowfs.trigger_function(kind, top) AND p.prosrc = body);
END;

CREATE OR REPLACE FUNCTION rowfs.make_triggers(kind text, top regclass, body text) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	member regclass;
	t record;
	fn text := format('rowfs.%I', rowfs.trigger_function(kind, top));
	quiet text := format('WHEN (pg_catalog.current_setting(''rowfs.daemon'', true) IS DISTINCT FROM ''1''%s)',
		CASE WHEN kind = 'notice' THEN ' OR coalesce(pg_catalog.current_setting(''rowfs.mount'', true), '''') = ''''' END);
BEGIN
	EXECUTE format('CREATE OR REPLACE FUNCTION %s() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER '
		'SET search_path = pg_catalog, pg_temp SET "TimeZone" = ''UTC'' SET "DateStyle" = ''ISO, YMD'' '
		'SET "IntervalStyle" = ''postgres'' SET extra_float_digits = 1 SET bytea_output = ''hex'' AS %L', fn, body);
	EXECUTE format('REVOKE ALL ON FUNCTION %s() FROM PUBLIC', fn);
	FOR member IN SELECT * FROM rowfs.without_triggers(kind, top) LOOP
		FOR t IN SELECT * FROM rowfs.triggers(kind) LOOP
			EXECUTE format('CREATE OR REPLACE TRIGGER %I %s ON %s %s FOR EACH STATEMENT %s EXECUTE FUNCTION %s()',
				t.name, t.event, member, 'REFERENCING ' || t.rows, CASE WHEN t.rows IS NOT NULL THEN quiet END, fn);
		END LOOP;
	END LOOP;
END
$$;

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
	            AND pg_has_role(p.proowner, 'USAGE') LOOP
		EXECUTE format('DROP FUNCTION %s', t.fn);
	END LOOP;
END
$$;

DROP FUNCTION rowfs.own_function(text, regclass), rowfs.trigger_owner(regclass), rowfs.owner();

COMMIT;
