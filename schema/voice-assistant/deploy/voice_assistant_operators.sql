-- Deploy rowfs_voice_assistant:voice_assistant_operators to pg
-- requires: voice_assistant_files
--
-- The functions and checks of the voice assistant mean PostgreSQL's own operators. Between two values of varchar, another
-- role's fit better, if its schema is on the search path: the caller's for a body in PL/pgSQL, the deployer's for what was
-- bound when it was made.

BEGIN;

-- To where the tables are, as in voice_assistant_files.
DO $$ BEGIN
	PERFORM pg_catalog.set_config('search_path', c.relnamespace::pg_catalog.regnamespace::pg_catalog.text, true)
	   FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) 'users'::pg_catalog.regclass::pg_catalog.oid;
END $$;

-- These name no table.
ALTER FUNCTION update_updated_at_column() SET search_path = pg_catalog, pg_temp;
ALTER FUNCTION session_ends() SET search_path = pg_catalog, pg_temp;
ALTER FUNCTION check_memory_size(text, text) SET search_path = pg_catalog, pg_temp;

-- One user's numbers. Each is counted by itself: joining commands and screenshots would multiply
-- them. The average is over sessions that have an end; NULL where there is none.
CREATE OR REPLACE FUNCTION user_statistics(hardware_id_hash varchar) RETURNS TABLE (
	total_sessions               bigint,
	total_commands               bigint,
	total_screenshots            bigint,
	avg_session_duration_seconds numeric
)
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT (SELECT pg_catalog.count(*) FROM sessions s WHERE s.user_id = u.id),
	       (SELECT pg_catalog.count(*) FROM sessions s JOIN commands c ON c.session_id = s.id
	         WHERE s.user_id = u.id),
	       (SELECT pg_catalog.count(*) FROM sessions s JOIN screenshots p ON p.session_id = s.id
	         WHERE s.user_id = u.id),
	       (SELECT pg_catalog.trim_scale(pg_catalog.avg(extract(epoch FROM s.end_time - s.start_time)))
	          FROM sessions s WHERE s.user_id = u.id)
	  FROM users u
	 WHERE u.hardware_id_hash::text = user_statistics.hardware_id_hash::text;
END;

-- Forgets short-term memories that nobody has touched for HOURS_OLD hours; returns how many.
CREATE OR REPLACE FUNCTION cleanup_expired_short_term_memory(hours_old integer DEFAULT 24) RETURNS integer
LANGUAGE sql
BEGIN ATOMIC
	WITH cleaned AS (
		UPDATE users u
		   SET short_term_memory = NULL, memory_updated_at = pg_catalog.now()
		 WHERE u.short_term_memory IS NOT NULL
		   AND u.memory_updated_at < pg_catalog.now() - pg_catalog.make_interval(hours => hours_old)
		RETURNING 1
	)
	SELECT pg_catalog.count(*)::integer FROM cleaned;
END;

-- A check that is bound to PostgreSQL's own operators depends on none: those are pinned.
DO $$
DECLARE
	here pg_catalog.text := pg_catalog.current_setting('search_path');
	tables pg_catalog.oid[] := ARRAY['users'::pg_catalog.regclass, 'sessions'::pg_catalog.regclass];
	k record;
BEGIN
	PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
	FOR k IN SELECT DISTINCT c.conrelid::regclass AS rel, c.conname, pg_get_constraintdef(c.oid) AS def,
	                format('OPERATOR(%s.%s)', o.oprnamespace::regnamespace, o.oprname) AS there,
	                format('OPERATOR(pg_catalog.%s)', o.oprname) AS here
	           FROM pg_constraint c JOIN pg_depend d ON d.classid = 'pg_constraint'::regclass AND d.objid = c.oid
	           JOIN pg_operator o ON d.refclassid = 'pg_operator'::regclass AND d.refobjid = o.oid
	          WHERE c.conrelid = ANY (tables) AND c.contype = 'c' AND o.oprname IN ('=', '<>')
	            AND o.oprleft = 'varchar'::regtype AND o.oprnamespace <> 'pg_catalog'::regnamespace LOOP
		EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I, ADD CONSTRAINT %2$I %3$s', k.rel, k.conname,
			replace(k.def, k.there, k.here));
	END LOOP;
	PERFORM set_config('search_path', here, true);
END $$;

COMMIT;
