-- Deploy rowfs_voice_assistant:voice_assistant to pg
--
-- The tables of the voice assistant, as its own programs know them. Unqualified: they go to the
-- first schema of the search path. Function bodies are bound to their tables here and now (BEGIN
-- ATOMIC), so that a caller's search path does not matter.

BEGIN;

SET LOCAL client_min_messages = warning; -- the extension may be there already
CREATE EXTENSION IF NOT EXISTS "uuid-ossp";

CREATE TABLE users (
	id                uuid PRIMARY KEY DEFAULT uuid_generate_v4(),
	hardware_id_hash  varchar(64) NOT NULL UNIQUE CHECK (hardware_id_hash <> ''),
	created_at        timestamptz DEFAULT now(),
	updated_at        timestamptz DEFAULT now(),
	metadata          jsonb DEFAULT '{}',
	short_term_memory text,
	long_term_memory  text,
	memory_updated_at timestamptz DEFAULT now()
);
CREATE INDEX idx_users_metadata ON users USING gin (metadata);
CREATE INDEX idx_users_memory_updated_at ON users (memory_updated_at);
CREATE INDEX idx_users_with_memory ON users (hardware_id_hash)
	WHERE short_term_memory IS NOT NULL OR long_term_memory IS NOT NULL;

CREATE TABLE sessions (
	id         uuid PRIMARY KEY DEFAULT uuid_generate_v4(),
	user_id    uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
	start_time timestamptz DEFAULT now(),
	end_time   timestamptz,
	metadata   jsonb DEFAULT '{}',
	status     varchar(20) DEFAULT 'active' CHECK (status IN ('active', 'ended', 'timeout')),
	created_at timestamptz DEFAULT now(),
	updated_at timestamptz DEFAULT now()
);
CREATE INDEX idx_sessions_user_id ON sessions (user_id);
CREATE INDEX idx_sessions_start_time ON sessions (start_time);
CREATE INDEX idx_sessions_status ON sessions (status);
CREATE INDEX idx_sessions_metadata ON sessions USING gin (metadata);

CREATE TABLE commands (
	id         uuid PRIMARY KEY DEFAULT uuid_generate_v4(),
	session_id uuid NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
	prompt     text NOT NULL,
	language   varchar(10) DEFAULT 'en',
	metadata   jsonb DEFAULT '{}',
	created_at timestamptz DEFAULT now()
);
CREATE INDEX idx_commands_session_id ON commands (session_id);
CREATE INDEX idx_commands_language ON commands (language);
CREATE INDEX idx_commands_created_at ON commands (created_at);
CREATE INDEX idx_commands_metadata ON commands USING gin (metadata);

CREATE TABLE llm_answers (
	id                  uuid PRIMARY KEY DEFAULT uuid_generate_v4(),
	command_id          uuid NOT NULL REFERENCES commands (id) ON DELETE CASCADE,
	prompt              text NOT NULL,
	response            text NOT NULL,
	model_info          jsonb DEFAULT '{}',
	performance_metrics jsonb DEFAULT '{}',
	created_at          timestamptz DEFAULT now()
);
CREATE INDEX idx_llm_answers_command_id ON llm_answers (command_id);
CREATE INDEX idx_llm_answers_model_info ON llm_answers USING gin (model_info);
CREATE INDEX idx_llm_answers_performance_metrics ON llm_answers USING gin (performance_metrics);

CREATE TABLE screenshots (
	id         uuid PRIMARY KEY DEFAULT uuid_generate_v4(),
	session_id uuid NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
	file_path  varchar(500),
	file_url   varchar(1000),
	metadata   jsonb DEFAULT '{}',
	created_at timestamptz DEFAULT now()
);
CREATE INDEX idx_screenshots_session_id ON screenshots (session_id);
CREATE INDEX idx_screenshots_metadata ON screenshots USING gin (metadata);

CREATE TABLE performance_metrics (
	id           uuid PRIMARY KEY DEFAULT uuid_generate_v4(),
	session_id   uuid NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
	metric_type  varchar(50) NOT NULL,
	metric_value jsonb NOT NULL,
	created_at   timestamptz DEFAULT now()
);
CREATE INDEX idx_performance_metrics_session_id ON performance_metrics (session_id);
CREATE INDEX idx_performance_metrics_metric_type ON performance_metrics (metric_type);
CREATE INDEX idx_performance_metrics_metric_value ON performance_metrics USING gin (metric_value);

-- An update that changes nothing changes no time. An update that brings another created_at puts
-- back a row that was saved elsewhere: the time that it brings along is kept.
CREATE FUNCTION update_updated_at_column() RETURNS trigger LANGUAGE plpgsql AS $$
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
$$;

CREATE TRIGGER update_users_updated_at BEFORE UPDATE ON users
	FOR EACH ROW EXECUTE FUNCTION update_updated_at_column();
CREATE TRIGGER update_sessions_updated_at BEFORE UPDATE ON sessions
	FOR EACH ROW EXECUTE FUNCTION update_updated_at_column();

-- Forgets short-term memories that nobody has touched for HOURS_OLD hours; returns how many.
CREATE FUNCTION cleanup_expired_short_term_memory(hours_old integer DEFAULT 24) RETURNS integer
LANGUAGE sql
BEGIN ATOMIC
	WITH cleaned AS (
		UPDATE users u
		   SET short_term_memory = NULL, memory_updated_at = now()
		 WHERE u.short_term_memory IS NOT NULL
		   AND u.memory_updated_at < now() - make_interval(hours => hours_old)
		RETURNING 1
	)
	SELECT count(*)::integer FROM cleaned;
END;

CREATE VIEW users_memory_view AS
	SELECT id, hardware_id_hash, short_term_memory, long_term_memory, memory_updated_at,
	       created_at, updated_at
	  FROM users
	 WHERE short_term_memory IS NOT NULL OR long_term_memory IS NOT NULL;

-- Sizes are characters, averaged over all users; a user without a memory counts as 0.
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
	SELECT count(*),
	       count(*) FILTER (WHERE short_term_memory IS NOT NULL OR long_term_memory IS NOT NULL),
	       count(short_term_memory),
	       count(long_term_memory),
	       trim_scale(avg(coalesce(length(short_term_memory), 0))),
	       trim_scale(avg(coalesce(length(long_term_memory), 0))),
	       min(memory_updated_at),
	       max(memory_updated_at)
	  FROM users;
END;

COMMIT;
