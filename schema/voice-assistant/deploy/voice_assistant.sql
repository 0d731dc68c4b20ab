-- Deploy rowfs_voice_assistant:voice_assistant to pg
-- requires: rowfs_core:rowfs_packs
--
-- The tables of the voice assistant, as its own programs know them, and what they need to be served
-- as files. What is there already is taken as it is (docs/PACKS.md). All is SQL, so it holds for
-- every writer, rowfs or not. Bodies of SQL functions are bound to their tables when they are made
-- (BEGIN ATOMIC), so that a caller's search path does not matter. Functions are called by their
-- schema, and values of varchar compared as text: another role's operators would fit better.

BEGIN;
\o /dev/null

SELECT rowfs.pack_begin('voice-assistant', 'users');
SELECT rowfs.make_extension('uuid-ossp');

SELECT rowfs.make($sql$
CREATE TABLE users (
	id                uuid PRIMARY KEY DEFAULT uuid_generate_v4(),
	hardware_id_hash  varchar(64) NOT NULL UNIQUE CHECK (hardware_id_hash::text <> ''),
	created_at        timestamptz DEFAULT now(),
	updated_at        timestamptz DEFAULT now(),
	metadata          jsonb DEFAULT '{}',
	short_term_memory text,
	long_term_memory  text,
	memory_updated_at timestamptz DEFAULT now()
)
$sql$, 'users/ and memory/: a user is a directory');
SELECT rowfs.make($sql$CREATE INDEX idx_users_metadata ON users USING gin (metadata)$sql$);
SELECT rowfs.make($sql$
CREATE INDEX idx_users_memory_updated_at ON users (memory_updated_at)
$sql$);
SELECT rowfs.make($sql$
CREATE INDEX idx_users_with_memory ON users (hardware_id_hash)
	WHERE short_term_memory IS NOT NULL OR long_term_memory IS NOT NULL
$sql$);

SELECT rowfs.make($sql$
CREATE TABLE sessions (
	id         uuid PRIMARY KEY DEFAULT uuid_generate_v4(),
	user_id    uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
	start_time timestamptz DEFAULT now(),
	end_time   timestamptz,
	metadata   jsonb DEFAULT '{}',
	status     varchar(20) DEFAULT 'active' CHECK (status::text IN ('active', 'ended', 'timeout')),
	created_at timestamptz DEFAULT now(),
	updated_at timestamptz DEFAULT now()
)
$sql$, 'sessions/ and users/H/sessions');
SELECT rowfs.make($sql$CREATE INDEX idx_sessions_user_id ON sessions (user_id)$sql$);
SELECT rowfs.make($sql$CREATE INDEX idx_sessions_start_time ON sessions (start_time)$sql$);
SELECT rowfs.make($sql$CREATE INDEX idx_sessions_status ON sessions (status)$sql$);
SELECT rowfs.make($sql$
CREATE INDEX idx_sessions_metadata ON sessions USING gin (metadata)
$sql$);

SELECT rowfs.make($sql$
CREATE TABLE commands (
	id         uuid PRIMARY KEY DEFAULT uuid_generate_v4(),
	session_id uuid NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
	prompt     text NOT NULL,
	language   varchar(10) DEFAULT 'en',
	metadata   jsonb DEFAULT '{}',
	created_at timestamptz DEFAULT now()
)
$sql$, 'the commands of a session');
SELECT rowfs.make($sql$CREATE INDEX idx_commands_session_id ON commands (session_id)$sql$);
SELECT rowfs.make($sql$CREATE INDEX idx_commands_language ON commands (language)$sql$);
SELECT rowfs.make($sql$CREATE INDEX idx_commands_created_at ON commands (created_at)$sql$);
SELECT rowfs.make($sql$
CREATE INDEX idx_commands_metadata ON commands USING gin (metadata)
$sql$);

SELECT rowfs.make($sql$
CREATE TABLE llm_answers (
	id                  uuid PRIMARY KEY DEFAULT uuid_generate_v4(),
	command_id          uuid NOT NULL REFERENCES commands (id) ON DELETE CASCADE,
	prompt              text NOT NULL,
	response            text NOT NULL,
	model_info          jsonb DEFAULT '{}',
	performance_metrics jsonb DEFAULT '{}',
	created_at          timestamptz DEFAULT now()
)
$sql$, 'the answers to a command');
SELECT rowfs.make($sql$
CREATE INDEX idx_llm_answers_command_id ON llm_answers (command_id)
$sql$);
SELECT rowfs.make($sql$
CREATE INDEX idx_llm_answers_model_info ON llm_answers USING gin (model_info)
$sql$);
SELECT rowfs.make($sql$
CREATE INDEX idx_llm_answers_performance_metrics ON llm_answers USING gin (performance_metrics)
$sql$);

SELECT rowfs.make($sql$
CREATE TABLE screenshots (
	id         uuid PRIMARY KEY DEFAULT uuid_generate_v4(),
	session_id uuid NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
	file_path  varchar(500),
	file_url   varchar(1000),
	metadata   jsonb DEFAULT '{}',
	created_at timestamptz DEFAULT now()
)
$sql$, 'the screenshots of a session');
SELECT rowfs.make($sql$
CREATE INDEX idx_screenshots_session_id ON screenshots (session_id)
$sql$);
SELECT rowfs.make($sql$
CREATE INDEX idx_screenshots_metadata ON screenshots USING gin (metadata)
$sql$);

SELECT rowfs.make($sql$
CREATE TABLE performance_metrics (
	id           uuid PRIMARY KEY DEFAULT uuid_generate_v4(),
	session_id   uuid NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
	metric_type  varchar(50) NOT NULL,
	metric_value jsonb NOT NULL,
	created_at   timestamptz DEFAULT now()
)
$sql$, 'the metrics of a session');
SELECT rowfs.make($sql$
CREATE INDEX idx_performance_metrics_session_id ON performance_metrics (session_id)
$sql$);
SELECT rowfs.make($sql$
CREATE INDEX idx_performance_metrics_metric_type ON performance_metrics (metric_type)
$sql$);
SELECT rowfs.make($sql$
CREATE INDEX idx_performance_metrics_metric_value ON performance_metrics USING gin (metric_value)
$sql$);

-- An update that changes nothing changes no time. An update that brings another created_at puts
-- back a row that was saved elsewhere: the time that it brings along is kept.
SELECT rowfs.make($sql$
CREATE FUNCTION update_updated_at_column() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF NEW *= OLD THEN
		RETURN NEW;
	END IF;
	IF NEW.created_at IS DISTINCT FROM OLD.created_at
	   AND NEW.updated_at IS DISTINCT FROM OLD.updated_at THEN
		RETURN NEW;
	END IF;
	NEW.updated_at := now();
	RETURN NEW;
END
$$
$sql$, 'updated_at moves when a row changes, and only then; a row put back keeps its times');
SELECT rowfs.make($sql$
CREATE TRIGGER update_users_updated_at BEFORE UPDATE ON users
	FOR EACH ROW EXECUTE FUNCTION update_updated_at_column()
$sql$, 'updated_at of a user moves when the user changes');
SELECT rowfs.make($sql$
CREATE TRIGGER update_sessions_updated_at BEFORE UPDATE ON sessions
	FOR EACH ROW EXECUTE FUNCTION update_updated_at_column()
$sql$, 'updated_at of a session moves when the session changes');

-- Forgets short-term memories that nobody has touched for HOURS_OLD hours; returns how many.
SELECT rowfs.make($sql$
CREATE FUNCTION cleanup_expired_short_term_memory(hours_old integer DEFAULT 24) RETURNS integer
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
END
$sql$, 'short-term memories that nobody touches are forgotten');

SELECT rowfs.make($sql$
CREATE VIEW users_memory_view AS
	SELECT id, hardware_id_hash, short_term_memory, long_term_memory, memory_updated_at,
	       created_at, updated_at
	  FROM users
	 WHERE short_term_memory IS NOT NULL OR long_term_memory IS NOT NULL
$sql$, 'memory/active.jsonl');

-- Sizes are characters, averaged over all users; a user without a memory counts as 0.
SELECT rowfs.make($sql$
CREATE FUNCTION get_memory_stats() RETURNS TABLE (
	total_users             bigint,
	users_with_memory       bigint,
	users_with_short_memory bigint,
	users_with_long_memory  bigint,
	avg_short_memory_size   numeric,
	avg_long_memory_size    numeric,
	oldest_memory_update    timestamptz,
	newest_memory_update    timestamptz
)
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT pg_catalog.count(*),
	       pg_catalog.count(*) FILTER (WHERE short_term_memory IS NOT NULL OR long_term_memory IS NOT NULL),
	       pg_catalog.count(short_term_memory),
	       pg_catalog.count(long_term_memory),
	       pg_catalog.trim_scale(pg_catalog.avg(coalesce(pg_catalog.length(short_term_memory), 0))),
	       pg_catalog.trim_scale(pg_catalog.avg(coalesce(pg_catalog.length(long_term_memory), 0))),
	       pg_catalog.min(memory_updated_at),
	       pg_catalog.max(memory_updated_at)
	  FROM users;
END
$sql$, 'memory/statistics.json');

-- A session that is ended gets its end_time once; ending it again does not move it. A row that
-- brings another created_at was saved elsewhere and keeps what it brings. 'timeout' sets no
-- end_time: nobody knows when a session that timed out really ended, and the time at which somebody
-- noticed would spoil the average duration.
SELECT rowfs.make($sql$
CREATE FUNCTION session_ends() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
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
$$
$sql$, 'end_time is set once, when a session ends, and does not move again');
SELECT rowfs.make($sql$
CREATE TRIGGER session_ends BEFORE INSERT OR UPDATE ON sessions
	FOR EACH ROW EXECUTE FUNCTION session_ends()
$sql$, 'end_time is set once, when a session ends, and does not move again');

-- A memory holds at most 10 240 characters. Only a text that changes is measured: a longer one from
-- before stays readable and its row writable.
SELECT rowfs.make($sql$
CREATE FUNCTION check_memory_size(name text, memory text) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF length(memory) > 10240 THEN
		RAISE string_data_right_truncation USING
			MESSAGE = format('%s is too long: %s characters', name, length(memory)),
			DETAIL = 'A memory holds at most 10240 characters.',
			TABLE = 'users', COLUMN = name;
	END IF;
END
$$
$sql$, 'a memory of more than 10 240 characters is refused');

-- memory_updated_at moves when a memory changes. A row that brings another created_at was saved
-- elsewhere and keeps the time that it brings.
SELECT rowfs.make($sql$
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
$$
$sql$, 'a memory of more than 10 240 characters is refused, and memory_updated_at '
	'moves when a memory changes');
SELECT rowfs.make($sql$
CREATE TRIGGER memory_moves BEFORE INSERT OR UPDATE ON users
	FOR EACH ROW EXECUTE FUNCTION memory_moves()
$sql$, 'a memory of more than 10 240 characters is refused, and memory_updated_at '
	'moves when a memory changes');

-- One user's numbers. Each is counted by itself: joining commands and screenshots would multiply
-- them. The average is over sessions that have an end; NULL where there is none.
SELECT rowfs.make($sql$
CREATE FUNCTION user_statistics(hardware_id_hash varchar) RETURNS TABLE (
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
END
$sql$, 'users/H/statistics.json');

-- A session's commands with their answers, oldest first: one row an answer, and one with NULLs for
-- a command that has none.
SELECT rowfs.make($sql$
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
END
$sql$, 'transcript.json of a session');

-- Users who have a memory, the one touched last first. Not by users_memory_view: other scripts made
-- that with other columns.
SELECT rowfs.make($sql$
CREATE FUNCTION users_with_active_memory("limit" integer DEFAULT 100) RETURNS TABLE (
	hardware_id_hash  varchar,
	short_term_memory text,
	long_term_memory  text,
	memory_updated_at timestamptz
)
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT u.hardware_id_hash, u.short_term_memory, u.long_term_memory, u.memory_updated_at
	  FROM users u
	 WHERE u.short_term_memory IS NOT NULL OR u.long_term_memory IS NOT NULL
	 ORDER BY u.memory_updated_at DESC NULLS LAST, u.hardware_id_hash
	 LIMIT "limit";
END
$sql$, 'memory/active.jsonl');

-- Inserting a row runs the clean-up; the row then says what it did. A row that comes with its
-- result is an old one put back, and runs nothing.
SELECT rowfs.make($sql$
CREATE TABLE memory_cleanups (
	id        bigserial PRIMARY KEY,
	hours_old integer NOT NULL DEFAULT 24 CHECK (hours_old >= 0),
	cleaned   integer,
	ran_at    timestamptz NOT NULL DEFAULT now()
)
$sql$, 'a line that is appended to memory/cleanup.jsonl runs the clean-up');

SELECT rowfs.make($sql$
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
$$
$sql$, 'a line that is appended to memory/cleanup.jsonl runs the clean-up');
SELECT rowfs.make($sql$
CREATE TRIGGER memory_cleanups_run BEFORE INSERT ON memory_cleanups
	FOR EACH ROW EXECUTE FUNCTION memory_cleanups_run()
$sql$, 'a line that is appended to memory/cleanup.jsonl runs the clean-up');

-- For the timer.
SELECT rowfs.make($sql$
CREATE FUNCTION memory_cleanup_run() RETURNS integer
LANGUAGE sql
BEGIN ATOMIC
	INSERT INTO memory_cleanups (hours_old) VALUES (24) RETURNING cleaned;
END
$sql$, 'the clean-up on a timer (cleanup_interval)');

SELECT rowfs.pack_end();

\o
COMMIT;
