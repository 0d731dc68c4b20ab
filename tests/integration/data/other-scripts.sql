-- The voice assistant's tables as other programs' scripts have made them: some things more, some less,
-- some other than rowfs's pack has them. Unqualified: they go to the first schema of the search path.

-- updated_at moves on every UPDATE
CREATE FUNCTION update_updated_at_column() RETURNS trigger AS $$
BEGIN
    NEW.updated_at = CURRENT_TIMESTAMP;
    RETURN NEW;
END;
$$ LANGUAGE plpgsql;
COMMENT ON FUNCTION update_updated_at_column() IS 'moves updated_at';

-- more columns, a default of its own for id, other ways to say the same
CREATE TABLE users (
    display_name      text,
    id                uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    hardware_id_hash  character varying(64) NOT NULL CHECK (hardware_id_hash <> ''),
    created_at        timestamp with time zone DEFAULT CURRENT_TIMESTAMP,
    updated_at        timestamp with time zone DEFAULT CURRENT_TIMESTAMP,
    metadata          jsonb DEFAULT '{}'::jsonb,
    short_term_memory text DEFAULT NULL,
    long_term_memory  text,
    memory_updated_at timestamp with time zone DEFAULT CURRENT_TIMESTAMP,
    tenant            integer NOT NULL DEFAULT 1
);
CREATE UNIQUE INDEX users_by_hash ON users (hardware_id_hash); -- no constraint, and as good as one
CREATE INDEX users_metadata_gin ON users USING gin (metadata); -- another name
CREATE INDEX users_by_tenant ON users (tenant);
CREATE TRIGGER touch_users BEFORE UPDATE ON users
    FOR EACH ROW EXECUTE PROCEDURE update_updated_at_column(); -- another name

-- a column that every new row must say; no check of status; a foreign key that does not cascade
CREATE TABLE sessions (
    id         uuid PRIMARY KEY DEFAULT uuid_generate_v4(),
    user_id    uuid NOT NULL REFERENCES users (id),
    device     varchar(40) NOT NULL,
    start_time timestamptz DEFAULT now(),
    end_time   timestamptz,
    metadata   jsonb DEFAULT '{}',
    status     varchar(20) DEFAULT 'open',
    created_at timestamptz DEFAULT now(),
    updated_at timestamptz DEFAULT now()
);
CREATE INDEX idx_sessions_status ON sessions (status, start_time);
CREATE TRIGGER update_sessions_updated_at BEFORE UPDATE ON sessions
    FOR EACH ROW EXECUTE FUNCTION update_updated_at_column();

-- prompt may be NULL, no default for language
CREATE TABLE commands (
    id         uuid PRIMARY KEY DEFAULT uuid_generate_v4(),
    session_id uuid NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    prompt     text,
    language   varchar(10),
    metadata   jsonb DEFAULT '{}',
    created_at timestamptz DEFAULT now()
);

-- no created_at, and metric_value is json
CREATE TABLE performance_metrics (
    id           uuid PRIMARY KEY DEFAULT uuid_generate_v4(),
    session_id   uuid NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    metric_type  varchar(50) NOT NULL,
    metric_value json NOT NULL
);

CREATE VIEW users_memory_view AS
    SELECT hardware_id_hash, length(short_term_memory) AS short_size, length(long_term_memory) AS long_size,
           memory_updated_at
      FROM users;

-- returns something else
CREATE FUNCTION cleanup_expired_short_term_memory(hours_old integer DEFAULT 24) RETURNS void AS $$
    UPDATE users SET short_term_memory = NULL, memory_updated_at = now()
     WHERE memory_updated_at < now() - make_interval(hours => hours_old)
$$ LANGUAGE sql;

-- a table where another kind is wanted
CREATE VIEW memory_cleanups AS SELECT 1 AS id;

INSERT INTO users (hardware_id_hash, short_term_memory) VALUES ('u1', repeat('x', 20000)), ('u2', NULL);
