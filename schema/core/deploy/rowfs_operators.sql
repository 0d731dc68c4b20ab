-- Deploy rowfs_core:rowfs_operators to pg
-- requires: rowfs_owners
--
-- What is called with a search path that others may write to means PostgreSQL's own functions all the same.

BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp;

-- Sends a notice of WHAT, members of a JSON object as text; if that is too long, of NOTHING, the same without keys. A
-- mount that changes something by itself gets it back with the answer, before the commit, and passes it on when it is
-- committed: a NOTIFY in the transaction would make all who commit wait for each other.
-- (A search path of its own would cost each statement of a writer.)
CREATE OR REPLACE FUNCTION rowfs.send_notice(what text, nothing text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	mount text := nullif(pg_catalog.current_setting('rowfs.mount', true), '');
	beginning text := '{"m": ' || coalesce(pg_catalog.to_json(mount)::text, 'null') || ', "n": {';
	payload text := beginning || what || '}}';
BEGIN
	IF pg_catalog.octet_length(payload) > 7900 THEN
		payload := beginning || nothing || '}}';
	END IF;
	IF mount IS NOT NULL THEN
		RAISE INFO USING MESSAGE = payload, ERRCODE = 'RF001';
	ELSE
		PERFORM pg_catalog.pg_notify('rowfs', payload);
	END IF;
END
$$;

-- Functions in plpgsql that are called by others of this schema, and may be called by anybody. Those of schema/partitioned change rows of
-- tables, whose triggers have the caller's search path.
DO $$
DECLARE
	fn regprocedure;
BEGIN
	FOR fn IN SELECT p.oid FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
	           WHERE p.pronamespace = 'rowfs'::regnamespace AND l.lanname = 'plpgsql' AND p.prorettype <> 'trigger'::regtype
	             AND p.provolatile <> 'v' AND NOT EXISTS (SELECT FROM unnest(p.proconfig) c WHERE c LIKE 'search_path=%') LOOP
		EXECUTE format('ALTER FUNCTION %s SET search_path = pg_catalog, pg_temp', fn);
	END LOOP;
END $$;

COMMIT;
