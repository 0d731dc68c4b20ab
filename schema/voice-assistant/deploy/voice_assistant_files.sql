-- Deploy rowfs_voice_assistant:voice_assistant_files to pg
-- requires: voice_assistant
--
-- What the voice assistant's tables need to be served as files. It is SQL, so it holds for every
-- writer, rowfs or not.

BEGIN;

-- To where the tables are, whatever the role is called: a role named rowfs has the schema rowfs first
-- on its search path.
DO $$ BEGIN
	PERFORM set_config('search_path', relnamespace::regnamespace::text, true)
	   FROM pg_class WHERE oid OPERATOR(pg_catalog.=) 'users'::regclass::oid;
END $$;

-- A session that is ended gets its end_time once; ending it again does not move it. A row that
-- brings another created_at was saved elsewhere and keeps what it brings. 'timeout' sets no
-- end_time: nobody knows when a session that timed out really ended, and the time at which somebody
-- noticed would spoil the average duration.
CREATE FUNCTION session_ends() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NEW.status IS DISTINCT FROM 'ended' THEN
		RETURN NEW;
	END IF;
	IF TG_OP = 'UPDATE' AND OLD.status = 'ended' AND OLD.end_time IS NOT NULL
	   AND NEW.created_at IS NOT DISTINCT FROM OLD.created_at THEN
		NEW.end_time := OLD.end_time;
	END IF;
	NEW.end_time := coalesce(NEW.end_time, now());
	RETURN NEW;
END
$$;

CREATE TRIGGER session_ends BEFORE INSERT OR UPDATE ON sessions
	FOR EACH ROW EXECUTE FUNCTION session_ends();

-- A memory holds at most 10 240 characters. Only a text that changes is measured: a longer one from
-- before stays readable and its row writable.
CREATE FUNCTION check_memory_size(name text, memory text) RETURNS void
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
	IF length(memory) > 10240 THEN
		RAISE string_data_right_truncation USING
			MESSAGE = format('%s is too long: %s characters', name, length(memory)),
			DETAIL = 'A memory holds at most 10240 characters.',
			TABLE = 'users', COLUMN = name;
	END IF;
END
$$;

-- memory_updated_at moves when a memory changes. A row that brings another created_at was saved
-- elsewhere and keeps the time that it brings.
CREATE FUNCTION memory_moves() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
	short_moves boolean := NEW.short_term_memory IS NOT NULL;
	long_moves boolean := NEW.long_term_memory IS NOT NULL;
	restored boolean := NEW.memory_updated_at IS NOT NULL;
BEGIN
	IF TG_OP = 'UPDATE' THEN
		short_moves := NEW.short_term_memory IS DISTINCT FROM OLD.short_term_memory;
		long_moves := NEW.long_term_memory IS DISTINCT FROM OLD.long_term_memory;
		restored := NEW.created_at IS DISTINCT FROM OLD.created_at
			AND NEW.memory_updated_at IS DISTINCT FROM OLD.memory_updated_at;
	END IF;
	IF short_moves THEN
		PERFORM check_memory_size('short_term_memory', NEW.short_term_memory);
	END IF;
	IF long_moves THEN
		PERFORM check_memory_size('long_term_memory', NEW.long_term_memory);
	END IF;
	IF (short_moves OR long_moves) AND NOT restored THEN
		NEW.memory_updated_at := now();
	END IF;
	RETURN NEW;
END
$$;

CREATE TRIGGER memory_moves BEFORE INSERT OR UPDATE ON users
	FOR EACH ROW EXECUTE FUNCTION memory_moves();

-- One user's numbers. Each is counted by itself: joining commands and screenshots would multiply
-- them. The average is over sessions that have an end; NULL where there is none.
CREATE FUNCTION user_statistics(hardware_id_hash varchar) RETURNS TABLE (
	total_sessions               bigint,
	total_commands               bigint,
	total_screenshots            bigint,
	avg_session_duration_seconds numeric
)
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT (SELECT count(*) FROM sessions s WHERE s.user_id = u.id),
	       (SELECT count(*) FROM sessions s JOIN commands c ON c.session_id = s.id
	         WHERE s.user_id = u.id),
	       (SELECT count(*) FROM sessions s JOIN screenshots p ON p.session_id = s.id
	         WHERE s.user_id = u.id),
	       (SELECT trim_scale(avg(extract(epoch FROM s.end_time - s.start_time)))
	          FROM sessions s WHERE s.user_id = u.id)
	  FROM users u
	 WHERE u.hardware_id_hash = user_statistics.hardware_id_hash;
END;

-- A session's commands with their answers, oldest first: one row an answer, and one with NULLs for a
-- command that has none.
CREATE FUNCTION session_transcript(session uuid) RETURNS TABLE (
	id                  uuid,
	session_id          uuid,
	prompt              text,
	language            varchar,
	metadata            jsonb,
	created_at          timestamptz,
	llm_response        text,
	model_info          jsonb,
	performance_metrics jsonb
)
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT c.id, c.session_id, c.prompt, c.language, c.metadata, c.created_at,
	       a.response, a.model_info, a.performance_metrics
	  FROM commands c LEFT JOIN llm_answers a ON a.command_id = c.id
	 WHERE c.session_id = session
	 ORDER BY c.created_at, c.id, a.created_at, a.id;
END;

-- Users who have a memory, the one touched last first.
CREATE FUNCTION users_with_active_memory("limit" integer DEFAULT 100) RETURNS TABLE (
	hardware_id_hash  varchar,
	short_term_memory text,
	long_term_memory  text,
	memory_updated_at timestamptz
)
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT v.hardware_id_hash, v.short_term_memory, v.long_term_memory, v.memory_updated_at
	  FROM users_memory_view v
	 ORDER BY v.memory_updated_at DESC NULLS LAST, v.hardware_id_hash
	 LIMIT "limit";
END;

-- Inserting a row runs the clean-up; the row then says what it did. A row that comes with its
-- result is an old one put back, and runs nothing.
CREATE TABLE memory_cleanups (
	id        bigserial PRIMARY KEY,
	hours_old integer NOT NULL DEFAULT 24 CHECK (hours_old >= 0),
	cleaned   integer,
	ran_at    timestamptz NOT NULL DEFAULT now()
);

CREATE FUNCTION memory_cleanups_run() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
	IF NEW.cleaned IS NOT NULL OR NEW.hours_old < 0 THEN
		RETURN NEW;
	END IF;
	NEW.hours_old := coalesce(NEW.hours_old, 24);
	NEW.ran_at := now();
	NEW.cleaned := cleanup_expired_short_term_memory(NEW.hours_old);
	RETURN NEW;
END
$$;

CREATE TRIGGER memory_cleanups_run BEFORE INSERT ON memory_cleanups
	FOR EACH ROW EXECUTE FUNCTION memory_cleanups_run();

-- For the timer.
CREATE FUNCTION memory_cleanup_run() RETURNS integer
LANGUAGE sql
BEGIN ATOMIC
	INSERT INTO memory_cleanups (hours_old) VALUES (24) RETURNING cleaned;
END;

COMMIT;
