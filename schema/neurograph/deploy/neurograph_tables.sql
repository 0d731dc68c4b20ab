-- Deploy rowfs_neurograph:neurograph_tables to pg
--
-- The six tables of NeuroGraph, as its own programs know them, in the schemas that they name. The
-- defaults are new: its programs have filled these columns themselves.

BEGIN;

SET LOCAL search_path = pg_catalog, pg_temp; -- operators are PostgreSQL's own

CREATE SCHEMA tokens;
CREATE SCHEMA graph;
CREATE SCHEMA experience;

CREATE TABLE tokens.tokens (
	id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	binary_data bytea NOT NULL,
	coord_x     float8[] NOT NULL,
	coord_y     float8[] NOT NULL,
	coord_z     float8[] NOT NULL,
	flags       bigint DEFAULT 0,
	weight      float8 DEFAULT 1.0,
	timestamp   bigint NOT NULL DEFAULT (extract(epoch FROM clock_timestamp()) * 1000)::bigint,
	token_type  varchar(50) DEFAULT 'default',
	metadata    jsonb DEFAULT '{}',
	created_at  timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'UTC'),
	updated_at  timestamp DEFAULT (now() AT TIME ZONE 'UTC')
);

CREATE TABLE tokens.spatial_index (
	id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	region_id   varchar(100) NOT NULL,
	min_x       float8 NOT NULL,
	min_y       float8 NOT NULL,
	min_z       float8 NOT NULL,
	max_x       float8 NOT NULL,
	max_y       float8 NOT NULL,
	max_z       float8 NOT NULL,
	token_count integer DEFAULT 0,
	density     float8 DEFAULT 0.0,
	metadata    jsonb DEFAULT '{}',
	updated_at  timestamp DEFAULT (now() AT TIME ZONE 'UTC')
);

CREATE TABLE graph.connections (
	id              uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	source_id       uuid NOT NULL,
	target_id       uuid NOT NULL,
	connection_type varchar(50) DEFAULT 'generic',
	weight          float8 DEFAULT 1.0,
	decay_rate      float8 DEFAULT 0.0,
	bidirectional   boolean DEFAULT false,
	metadata        jsonb DEFAULT '{}',
	created_at      timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'UTC'),
	updated_at      timestamp DEFAULT (now() AT TIME ZONE 'UTC'),
	generation      integer DEFAULT 0,
	fitness         float8 DEFAULT 0.0
);

CREATE TABLE graph.graph_snapshots (
	id                     uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	generation             integer NOT NULL,
	fitness                float8 DEFAULT 0.0,
	node_count             integer DEFAULT 0,
	edge_count             integer DEFAULT 0,
	avg_degree             float8 DEFAULT 0.0,
	clustering_coefficient float8 DEFAULT 0.0,
	graph_data             jsonb NOT NULL,
	metadata               jsonb DEFAULT '{}',
	created_at             timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'UTC')
);

CREATE TABLE experience.experience_events (
	id              uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	event_type      varchar(100) NOT NULL,
	timestamp       bigint NOT NULL,
	token_id        uuid,
	state_before    jsonb,
	state_after     jsonb,
	action          jsonb,
	reward          float8 DEFAULT 0.0,
	metadata        jsonb DEFAULT '{}',
	priority        float8 DEFAULT 1.0,
	trajectory_id   uuid,
	sequence_number integer DEFAULT 0,
	created_at      timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'UTC')
);

CREATE TABLE experience.experience_trajectories (
	id           uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	start_time   bigint NOT NULL,
	end_time     bigint,
	event_count  integer DEFAULT 0,
	total_reward float8 DEFAULT 0.0,
	metadata     jsonb DEFAULT '{}',
	created_at   timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'UTC')
);

ALTER TABLE tokens.tokens ADD CONSTRAINT tokens_binary_data_check
	CHECK (octet_length(binary_data) = 64);
ALTER TABLE tokens.tokens ADD CONSTRAINT tokens_coord_x_check CHECK (cardinality(coord_x) = 8);
ALTER TABLE tokens.tokens ADD CONSTRAINT tokens_coord_y_check CHECK (cardinality(coord_y) = 8);
ALTER TABLE tokens.tokens ADD CONSTRAINT tokens_coord_z_check CHECK (cardinality(coord_z) = 8);
ALTER TABLE tokens.spatial_index ADD CONSTRAINT spatial_index_region_id_key UNIQUE (region_id);
ALTER TABLE graph.connections ADD CONSTRAINT connections_source_id_fkey
	FOREIGN KEY (source_id) REFERENCES tokens.tokens (id);
ALTER TABLE graph.connections ADD CONSTRAINT connections_target_id_fkey
	FOREIGN KEY (target_id) REFERENCES tokens.tokens (id);
ALTER TABLE experience.experience_events ADD CONSTRAINT experience_events_token_id_fkey
	FOREIGN KEY (token_id) REFERENCES tokens.tokens (id);

CREATE INDEX idx_token_coords ON tokens.tokens (coord_x, coord_y, coord_z);
CREATE INDEX idx_token_created ON tokens.tokens (created_at);
CREATE INDEX idx_token_flags ON tokens.tokens (flags);
CREATE INDEX idx_connection_source ON graph.connections (source_id);
CREATE INDEX idx_connection_target ON graph.connections (target_id);
CREATE INDEX idx_connection_type ON graph.connections (connection_type);
CREATE INDEX idx_connection_weight ON graph.connections (weight);
CREATE INDEX idx_experience_timestamp ON experience.experience_events (timestamp);
CREATE INDEX idx_experience_type ON experience.experience_events (event_type);
CREATE INDEX idx_experience_token ON experience.experience_events (token_id);
CREATE INDEX idx_experience_priority ON experience.experience_events (priority);
CREATE INDEX idx_experience_trajectory
	ON experience.experience_events (trajectory_id, sequence_number);

COMMIT;
