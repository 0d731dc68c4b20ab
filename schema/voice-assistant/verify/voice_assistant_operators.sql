-- Verify rowfs_voice_assistant:voice_assistant_operators on pg

BEGIN;

DO $$
DECLARE
	made pg_catalog.oid[] := ARRAY['update_updated_at_column()'::pg_catalog.regprocedure, 'session_ends()'::pg_catalog.regprocedure,
		'check_memory_size(text, text)'::pg_catalog.regprocedure];
	bound pg_catalog.oid[] := ARRAY['user_statistics(varchar)'::pg_catalog.regprocedure];
BEGIN
	PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
	PERFORM 1 / (count(*) = 3)::int FROM pg_proc p WHERE p.oid = ANY (made) AND p.proconfig = '{"search_path=pg_catalog, pg_temp"}';
	PERFORM 1 / (count(*) = 0)::int FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = ANY (bound)
	   AND d.refclassid = 'pg_operator'::regclass;
END $$;

ROLLBACK;
