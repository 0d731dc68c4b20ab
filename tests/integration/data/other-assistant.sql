-- The voice assistant's tables as other programs' scripts have made them, complete enough for all of its
-- methods: more columns and indexes, a view with other columns, a trigger that moves updated_at on every
-- UPDATE, no limit on memories, no statistics, no order book.

CREATE FUNCTION update_updated_at_column() RETURNS trigger AS $$
BEGIN
    NEW.updated_at = CURRENT_TIMESTAMP;
    RETURN NEW;
END;
$$ LANGUAGE plpgsql;

CREATE TABLE users (
    id                uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    hardware_id_hash  character varying(64) UNIQUE NOT NULL,
    created_at        timestamp with time zone DEFAULT CURRENT_TIMESTAMP,
    updated_at        timestamp with time zone DEFAULT CURRENT_TIMESTAMP,
    metadata          jsonb DEFAULT '{}'::jsonb,
    short_term_memory text,
    long_term_memory  text,
    memory_updated_at timestamp with time zone DEFAULT CURRENT_TIMESTAMP,
    locale            text
);
CREATE INDEX users_by_locale ON users (locale);
CREATE TRIGGER update_users_updated_at BEFORE UPDATE ON users
    FOR EACH ROW EXECUTE FUNCTION update_updated_at_column();

CREATE TABLE sessions (
    id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id    uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    start_time timestamp with time zone DEFAULT CURRENT_TIMESTAMP,
    end_time   timestamp with time zone,
    metadata   jsonb DEFAULT '{}'::jsonb,
    status     character varying(20) DEFAULT 'active' CHECK (status IN ('active', 'ended', 'timeout')),
    created_at timestamp with time zone DEFAULT CURRENT_TIMESTAMP,
    updated_at timestamp with time zone DEFAULT CURRENT_TIMESTAMP
);
CREATE TRIGGER update_sessions_updated_at BEFORE UPDATE ON sessions
    FOR EACH ROW EXECUTE FUNCTION update_updated_at_column();

CREATE TABLE commands (
    id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    session_id uuid NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    prompt     text NOT NULL,
    language   character varying(10) DEFAULT 'en',
    metadata   jsonb DEFAULT '{}'::jsonb,
    created_at timestamp with time zone DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE llm_answers (
    id                  uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    command_id          uuid NOT NULL REFERENCES commands (id) ON DELETE CASCADE,
    prompt              text NOT NULL,
    response            text NOT NULL,
    model_info          jsonb DEFAULT '{}'::jsonb,
    performance_metrics jsonb DEFAULT '{}'::jsonb,
    created_at          timestamp with time zone DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE screenshots (
    id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    session_id uuid NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    file_path  character varying(500),
    file_url   character varying(1000),
    metadata   jsonb DEFAULT '{}'::jsonb,
    created_at timestamp with time zone DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE performance_metrics (
    id           uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    session_id   uuid NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    metric_type  character varying(50) NOT NULL,
    metric_value jsonb NOT NULL,
    created_at   timestamp with time zone DEFAULT CURRENT_TIMESTAMP
);

CREATE VIEW users_memory_view AS
    SELECT hardware_id_hash, length(short_term_memory) AS short_size, length(long_term_memory) AS long_size FROM users;
