-- Revert rowfs_voice_assistant:voice_assistant_operators from pg
--
-- What functions and checks mean stays: nothing needs it otherwise. Search paths go.

BEGIN;

DO $$ BEGIN
	PERFORM pg_catalog.set_config('search_path', c.relnamespace::pg_catalog.regnamespace::pg_catalog.text, true)
	   FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) 'users'::pg_catalog.regclass::pg_catalog.oid;
END $$;

ALTER FUNCTION update_updated_at_column() RESET search_path;
ALTER FUNCTION session_ends() RESET search_path;
ALTER FUNCTION check_memory_size(text, text) RESET search_path;

COMMIT;
