-- The tables as the single project of 0.1's first half made them: voice_assistant, orderbook,
-- voice_assistant_files, orderbook_files. Frozen: databases have them.

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

CREATE TABLE orderbook_data (
	id              bigserial PRIMARY KEY,
	exchange        varchar(50) NOT NULL DEFAULT 'binance-futures',
	symbol          varchar(20) NOT NULL,
	timestamp       bigint NOT NULL,
	local_timestamp bigint NOT NULL,
	ask_amount      decimal(20,8),
	ask_price       decimal(20,8),
	bid_price       decimal(20,8),
	bid_amount      decimal(20,8),
	created_at      timestamp DEFAULT current_timestamp
);
CREATE INDEX idx_orderbook_symbol_timestamp ON orderbook_data (symbol, timestamp);
CREATE INDEX idx_orderbook_created_at ON orderbook_data (created_at);
CREATE INDEX idx_orderbook_symbol ON orderbook_data (symbol);

-- To where the tables are, whatever the role is called: a role named rowfs has the schema rowfs first
-- on its search path.
DO $$ BEGIN
	PERFORM set_config('search_path', relnamespace::regnamespace::text, true)
	   FROM pg_class WHERE oid = 'users'::regclass;
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

CREATE INDEX idx_orderbook_files ON orderbook_data (exchange, symbol, timestamp, id);

