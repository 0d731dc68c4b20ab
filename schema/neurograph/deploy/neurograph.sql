-- Deploy rowfs_neurograph:neurograph to pg
-- requires: rowfs_core:rowfs_packs
--
-- The six tables of NeuroGraph, as its own programs know them, in the schemas that they name, and
-- what they need to be served as files. What is there already is taken as it is (docs/PACKS.md).
-- The defaults are new: its programs have filled these columns themselves. Functions in SQL are
-- bound to what they use when they are made (BEGIN ATOMIC). Those in plpgsql have a search path of
-- their own.

BEGIN;
\o /dev/null

SET LOCAL search_path = pg_catalog, pg_temp; -- operators are PostgreSQL's own

SELECT rowfs.pack_begin('neurograph');
SELECT rowfs.make_schema('tokens');
SELECT rowfs.make_schema('graph');
SELECT rowfs.make_schema('experience');
SELECT rowfs.make_schema('neurograph'); -- what is of neither tokens, graph nor experience

SELECT rowfs.make($sql$
CREATE TABLE tokens.tokens (
	id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	binary_data bytea NOT NULL CHECK (octet_length(binary_data) = 64),
	coord_x     float8[] NOT NULL CHECK (cardinality(coord_x) = 8),
	coord_y     float8[] NOT NULL CHECK (cardinality(coord_y) = 8),
	coord_z     float8[] NOT NULL CHECK (cardinality(coord_z) = 8),
	flags       bigint DEFAULT 0,
	weight      float8 DEFAULT 1.0,
	timestamp   bigint NOT NULL DEFAULT (extract(epoch FROM clock_timestamp()) * 1000)::bigint,
	token_type  varchar(50) DEFAULT 'default',
	metadata    jsonb DEFAULT '{}',
	created_at  timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'UTC'),
	updated_at  timestamp DEFAULT (now() AT TIME ZONE 'UTC')
)
$sql$, 'tokens/, bin/, bulk/ and api/: the files of a token');

SELECT rowfs.make($sql$
CREATE TABLE tokens.spatial_index (
	id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	region_id   varchar(100) NOT NULL UNIQUE,
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
)
$sql$, 'regions.json');

SELECT rowfs.make($sql$
CREATE TABLE graph.connections (
	id              uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	source_id       uuid NOT NULL REFERENCES tokens.tokens (id),
	target_id       uuid NOT NULL REFERENCES tokens.tokens (id),
	connection_type varchar(50) DEFAULT 'generic',
	weight          float8 DEFAULT 1.0,
	decay_rate      float8 DEFAULT 0.0,
	bidirectional   boolean DEFAULT false,
	metadata        jsonb DEFAULT '{}',
	created_at      timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'UTC'),
	updated_at      timestamp DEFAULT (now() AT TIME ZONE 'UTC'),
	generation      integer DEFAULT 0,
	fitness         float8 DEFAULT 0.0
)
$sql$, 'graph/: connections and neighbours');

SELECT rowfs.make($sql$
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
)
$sql$, 'graph/snapshots: one file for each snapshot');

SELECT rowfs.make($sql$
CREATE TABLE experience.experience_events (
	id              uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	event_type      varchar(100) NOT NULL,
	timestamp       bigint NOT NULL,
	token_id        uuid REFERENCES tokens.tokens (id),
	state_before    jsonb,
	state_after     jsonb,
	action          jsonb,
	reward          float8 DEFAULT 0.0,
	metadata        jsonb DEFAULT '{}',
	priority        float8 DEFAULT 1.0,
	trajectory_id   uuid,
	sequence_number integer DEFAULT 0,
	created_at      timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'UTC')
)
$sql$, 'experience/, experience_events.jsonl: each line is an event');

SELECT rowfs.make($sql$
CREATE TABLE experience.experience_trajectories (
	id           uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	start_time   bigint NOT NULL,
	end_time     bigint,
	event_count  integer DEFAULT 0,
	total_reward float8 DEFAULT 0.0,
	metadata     jsonb DEFAULT '{}',
	created_at   timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'UTC')
)
$sql$, 'experience/trajectories: a trajectory is a directory');

SELECT rowfs.make($sql$
CREATE INDEX idx_token_coords ON tokens.tokens (coord_x, coord_y, coord_z)
$sql$);
SELECT rowfs.make($sql$CREATE INDEX idx_token_created ON tokens.tokens (created_at)$sql$);
SELECT rowfs.make($sql$CREATE INDEX idx_token_flags ON tokens.tokens (flags)$sql$);
SELECT rowfs.make($sql$CREATE INDEX idx_connection_source ON graph.connections (source_id)$sql$);
SELECT rowfs.make($sql$CREATE INDEX idx_connection_target ON graph.connections (target_id)$sql$);
SELECT rowfs.make($sql$
CREATE INDEX idx_connection_type ON graph.connections (connection_type)
$sql$);
SELECT rowfs.make($sql$CREATE INDEX idx_connection_weight ON graph.connections (weight)$sql$);
SELECT rowfs.make($sql$
CREATE INDEX idx_experience_timestamp ON experience.experience_events (timestamp)
$sql$);
SELECT rowfs.make($sql$
CREATE INDEX idx_experience_type ON experience.experience_events (event_type)
$sql$);
SELECT rowfs.make($sql$
CREATE INDEX idx_experience_token ON experience.experience_events (token_id)
$sql$);
SELECT rowfs.make($sql$
CREATE INDEX idx_experience_priority ON experience.experience_events (priority)
$sql$);
SELECT rowfs.make($sql$
CREATE INDEX idx_experience_trajectory
	ON experience.experience_events (trajectory_id, sequence_number)
$sql$);

-- experience_events.jsonl, line by line. A line without a type or a time ({"raw": …}) is no event.
SELECT rowfs.make($sql$
CREATE TABLE experience.event_lines (
	id         bigserial PRIMARY KEY,
	event_id   text,
	event_type varchar(100),
	timestamp  numeric, -- milliseconds
	state      jsonb,
	action     jsonb,
	reward     float8,
	next_state jsonb,
	priority   float8,
	rest       jsonb,
	event      uuid     -- what it has become in experience_events
)
$sql$, 'experience_events.jsonl keeps its lines as they were written');

SELECT rowfs.make($sql$
CREATE TABLE experience.action_log (
	id         bigserial PRIMARY KEY,
	timestamp  timestamp NOT NULL,
	event_id   text,
	processing jsonb,
	data       text
)
$sql$, 'logs/actions.jsonl: each line becomes a row');

-- Whole files of fixed names. A body that is NULL is no file: programs then start with their
-- defaults.
SELECT rowfs.make($sql$
CREATE TABLE neurograph.files (
	name text PRIMARY KEY,
	body bytea
);
INSERT INTO neurograph.files (name) VALUES
	('api_keys.json'), ('action_controller_config.json'), ('bootstrap_map.json'),
	('gateway_events.log'), ('graph.wal'), ('pca_model.bin')
$sql$, 'files/ and data/: whole files, byte by byte');

SELECT rowfs.make($sql$
CREATE INDEX tokens_token_type_id ON tokens.tokens (token_type, id)
$sql$, 'a file of tokens/by-type is read without reading the whole table');
SELECT rowfs.make($sql$
CREATE INDEX experience_events_timestamp_id ON experience.experience_events (timestamp, id)
$sql$, 'files of a day and of the last events are read without reading the whole table');
SELECT rowfs.make($sql$CREATE INDEX event_lines_event ON experience.event_lines (event)$sql$);

-- Boxes: one index a level. Points and boxes are built in, so that no extension is needed.
SELECT rowfs.make(format($sql$
CREATE INDEX tokens_box_%s ON tokens.tokens
	USING gist (point(coord_x[%2$s], coord_y[%2$s]), point(coord_z[%2$s], 0))
	WHERE coord_x[%2$s] IS NOT NULL AND coord_y[%2$s] IS NOT NULL AND coord_z[%2$s] IS NOT NULL
$sql$, level, level + 1), 'a box of region/ is found without reading the whole table')
  FROM generate_series(0, 7) AS level;

-- The record of 64 bytes, little endian: 24 int16 (levels 0 to 7, each x, y, z), u32 id, u16 flags,
-- f32 weight, u8 radius * 100, u8 strength * 255, u32 seconds. A coordinate of 127 is "undefined".
SELECT rowfs.make($sql$
CREATE FUNCTION tokens.scale(level integer, axis integer) RETURNS float8
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT CASE WHEN level = 6 AND axis = 2 THEN 1000
	            ELSE (ARRAY[100, 10000, 1000, 10000, 10000, 10000, 100, 10000])[level + 1]
	       END::float8;
END
$sql$);

-- N bytes of B from AT on (counted from 0) as a number: 1, 2 or 4. Without aggregates, PostgreSQL
-- puts these functions into the statement, which makes them ten times as fast.
SELECT rowfs.make($sql$
CREATE FUNCTION tokens.uint(b bytea, at integer, n integer) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT get_byte(b, at)::bigint
	       + CASE WHEN n > 1 THEN get_byte(b, at + 1)::bigint << 8 ELSE 0 END
	       + CASE WHEN n > 2 THEN (get_byte(b, at + 2)::bigint << 16)
	                              + (get_byte(b, at + 3)::bigint << 24) ELSE 0 END;
END
$sql$);

-- The number V in N bytes: 1, 2 or 4.
SELECT rowfs.make($sql$
CREATE FUNCTION tokens.le(v bigint, n integer) RETURNS bytea
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT substr(set_byte(set_byte(set_byte(set_byte('\x00000000'::bytea, 0, (v & 255)::integer),
	       1, ((v >> 8) & 255)::integer), 2, ((v >> 16) & 255)::integer),
	       3, ((v >> 24) & 255)::integer), 1, n);
END
$sql$);

-- What the two bytes U of a coordinate say.
SELECT rowfs.make($sql$
CREATE FUNCTION tokens.coordinate(u bigint, level integer, axis integer) RETURNS float8
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT CASE WHEN u <> 127
	            THEN (CASE WHEN u > 32767 THEN u - 65536 ELSE u END) / tokens.scale(level, axis)
	       END;
END
$sql$);

-- One axis (0: x) of the record B at its eight levels.
SELECT rowfs.make($sql$
CREATE FUNCTION tokens.axis(b bytea, axis integer) RETURNS float8[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT ARRAY[
		tokens.coordinate(tokens.uint(b, 2 * axis, 2), 0, axis),
		tokens.coordinate(tokens.uint(b, 6 + 2 * axis, 2), 1, axis),
		tokens.coordinate(tokens.uint(b, 12 + 2 * axis, 2), 2, axis),
		tokens.coordinate(tokens.uint(b, 18 + 2 * axis, 2), 3, axis),
		tokens.coordinate(tokens.uint(b, 24 + 2 * axis, 2), 4, axis),
		tokens.coordinate(tokens.uint(b, 30 + 2 * axis, 2), 5, axis),
		tokens.coordinate(tokens.uint(b, 36 + 2 * axis, 2), 6, axis),
		tokens.coordinate(tokens.uint(b, 42 + 2 * axis, 2), 7, axis)];
END
$sql$);

-- The float of four bytes whose bits are U, and the bits of one.
SELECT rowfs.make($sql$
CREATE FUNCTION tokens.real4(u bigint) RETURNS float8
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT CASE WHEN u >> 31 = 1 THEN -1 ELSE 1 END * CASE
		WHEN (u >> 23) & 255 = 255 AND u & 8388607 <> 0 THEN 'NaN'::float8
		WHEN (u >> 23) & 255 = 255 THEN 'Infinity'::float8
		WHEN (u >> 23) & 255 = 0 THEN (u & 8388607) * 2::float8 ^ (-149)
		ELSE ((u & 8388607) + 8388608) * 2::float8 ^ (((u >> 23) & 255) - 150)::float8 END;
END
$sql$);

SELECT rowfs.make($sql$
CREATE FUNCTION tokens.real4_bits(r real) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT sum(get_byte(float4send(r), i)::bigint << (24 - 8 * i))::bigint
	  FROM generate_series(0, 3) AS i;
END
$sql$);

-- The first 48 bytes. What OLD says already keeps its bytes: 0.29 * 100 is not quite 29.
SELECT rowfs.make($sql$
CREATE FUNCTION tokens.pack_coordinates(x float8[], y float8[], z float8[], old bytea) RETURNS bytea
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT string_agg(CASE
	           WHEN c IS NOT DISTINCT FROM tokens.coordinate(
	                tokens.uint(old, 6 * level + 2 * axis, 2), level, axis)
	           THEN substr(old, 6 * level + 2 * axis + 1, 2)
	           WHEN c IS NULL THEN '\x7f00'::bytea
	           ELSE tokens.le(greatest(-32767, least(32767,
	                    trunc(c * tokens.scale(level, axis))))::bigint & 65535, 2) END,
	       ''::bytea ORDER BY level, axis)
	  FROM generate_series(0, 7) AS level, generate_series(0, 2) AS axis,
	       LATERAL (SELECT CASE axis WHEN 0 THEN x[level + 1] WHEN 1 THEN y[level + 1]
	                                 ELSE z[level + 1] END) AS v (c);
END
$sql$);

-- Bytes and columns say the same, part by part: the side that was changed decides. If both were
-- changed, both are taken as they are.
SELECT rowfs.make($sql$
CREATE FUNCTION tokens.bytes_and_columns() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	all_new boolean := TG_OP = 'INSERT';
	was bytea;
	is_now bytea := NEW.binary_data;
BEGIN
	IF octet_length(is_now) IS DISTINCT FROM 64 THEN
		RAISE check_violation USING MESSAGE = format('binary_data has %s bytes, a token has 64',
			coalesce(octet_length(is_now)::text, 'no'));
	END IF;
	IF all_new THEN
		IF NEW.coord_x IS NULL AND NEW.coord_y IS NULL AND NEW.coord_z IS NULL THEN
			NEW.coord_x := tokens.axis(is_now, 0);
			NEW.coord_y := tokens.axis(is_now, 1);
			NEW.coord_z := tokens.axis(is_now, 2);
			NEW.flags := tokens.uint(is_now, 52, 2);
			NEW.weight := tokens.real4(tokens.uint(is_now, 54, 4));
			NEW.timestamp := 1000 * tokens.uint(is_now, 60, 4);
		END IF;
		RETURN NEW;
	END IF;
	was := OLD.binary_data;
	IF (NEW.coord_x, NEW.coord_y, NEW.coord_z) IS NOT DISTINCT FROM
	   (OLD.coord_x, OLD.coord_y, OLD.coord_z) THEN
		IF substr(is_now, 1, 48) <> substr(was, 1, 48) THEN
			NEW.coord_x := tokens.axis(is_now, 0);
			NEW.coord_y := tokens.axis(is_now, 1);
			NEW.coord_z := tokens.axis(is_now, 2);
		END IF;
	ELSIF substr(is_now, 1, 48) = substr(was, 1, 48) AND cardinality(NEW.coord_x) = 8
	      AND cardinality(NEW.coord_y) = 8 AND cardinality(NEW.coord_z) = 8 THEN
		NEW.binary_data := tokens.pack_coordinates(NEW.coord_x, NEW.coord_y, NEW.coord_z, was)
			|| substr(NEW.binary_data, 49);
	END IF;
	IF NEW.flags IS NOT DISTINCT FROM OLD.flags THEN
		IF substr(is_now, 53, 2) <> substr(was, 53, 2) THEN
			NEW.flags := tokens.uint(is_now, 52, 2);
		END IF;
	ELSIF substr(is_now, 53, 2) = substr(was, 53, 2) THEN
		NEW.binary_data := overlay(NEW.binary_data
			PLACING tokens.le(coalesce(NEW.flags, 0) & 65535, 2) FROM 53);
	END IF;
	IF NEW.weight IS NOT DISTINCT FROM OLD.weight THEN
		IF substr(is_now, 55, 4) <> substr(was, 55, 4) THEN
			NEW.weight := tokens.real4(tokens.uint(is_now, 54, 4));
		END IF;
	ELSIF substr(is_now, 55, 4) = substr(was, 55, 4) THEN
		NEW.binary_data := overlay(NEW.binary_data
			PLACING tokens.le(tokens.real4_bits(coalesce(NEW.weight, 0)::real), 4) FROM 55);
	END IF;
	IF NEW.timestamp IS NOT DISTINCT FROM OLD.timestamp THEN
		IF substr(is_now, 61, 4) <> substr(was, 61, 4) THEN
			NEW.timestamp := 1000 * tokens.uint(is_now, 60, 4);
		END IF;
	ELSIF substr(is_now, 61, 4) = substr(was, 61, 4) THEN
		NEW.binary_data := overlay(NEW.binary_data
			PLACING tokens.le(NEW.timestamp / 1000, 4) FROM 61);
	END IF;
	RETURN NEW;
END
$$
$sql$, 'bytes and columns of a token stay together');

-- One axis of the levels {"L1": [x, y, z], …}; a level that they do not name keeps what OLD says.
SELECT rowfs.make($sql$
CREATE FUNCTION tokens.api_axis(levels jsonb, axis integer, old float8[]) RETURNS float8[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT array_agg(CASE WHEN levels ? ('L' || l) THEN (levels -> ('L' || l) ->> axis)::float8
	                      ELSE old[l] END ORDER BY l)
	  FROM generate_series(1, 8) AS l;
END
$sql$);

-- Each line becomes an event, and its event goes with it.
SELECT rowfs.make($sql$
CREATE FUNCTION experience.line_to_event() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF NEW.event_type IS NULL OR NEW.timestamp IS NULL THEN
		RETURN NEW;
	END IF;
	NEW.event := gen_random_uuid();
	INSERT INTO experience.experience_events (id, event_type, timestamp, state_before, state_after,
	                                          action, reward, priority, metadata)
	VALUES (NEW.event, NEW.event_type, round(NEW.timestamp), NEW.state, NEW.next_state, NEW.action,
	        coalesce(NEW.reward, 0.0), coalesce(NEW.priority, 1.0),
	        CASE jsonb_typeof(NEW.rest -> 'metadata')
	             WHEN 'object' THEN NEW.rest - 'metadata' || (NEW.rest -> 'metadata')
	             ELSE coalesce(NEW.rest, '{}') END
	        || jsonb_build_object('event_id', NEW.event_id));
	RETURN NEW;
END
$$
$sql$, 'each line of experience_events.jsonl becomes an event');

SELECT rowfs.make($sql$
CREATE FUNCTION experience.line_gone() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	DELETE FROM experience.experience_events WHERE id = OLD.event;
	RETURN NULL;
END
$$
$sql$, 'an event goes with its line');

SELECT rowfs.make($sql$
CREATE FUNCTION experience.recent(count integer) RETURNS SETOF experience.experience_events
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT * FROM experience.experience_events ORDER BY timestamp DESC, id DESC LIMIT recent.count;
END
$sql$, 'experience/recent/: the last events');

-- trajectory_id has no foreign key, so that no path joins the two tables.
SELECT rowfs.make($sql$
CREATE FUNCTION experience.of_trajectory(trajectory uuid) RETURNS SETOF experience.experience_events
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT * FROM experience.experience_events WHERE trajectory_id = trajectory
	 ORDER BY sequence_number, id;
END
$sql$, 'experience/trajectories/*/events.jsonl');

SELECT rowfs.make($sql$
CREATE FUNCTION graph.incoming(node uuid) RETURNS SETOF graph.connections LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT * FROM graph.connections WHERE target_id = node ORDER BY weight DESC, id;
END
$sql$, 'graph/nodes/*/in.jsonl');

SELECT rowfs.make($sql$
CREATE FUNCTION graph.neighbours(node uuid, direction text DEFAULT 'both', type text DEFAULT NULL)
RETURNS TABLE (neighbour uuid, direction_seen text, connection uuid, connection_type varchar,
               weight float8, bidirectional boolean)
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT target_id, 'out'::text, id, connection_type, weight, bidirectional FROM graph.connections
	 WHERE source_id = node AND direction IN ('out', 'both')
	   AND (type IS NULL OR connection_type = type)
	UNION ALL
	SELECT source_id, 'in', id, connection_type, weight, bidirectional FROM graph.connections
	 WHERE target_id = node AND direction IN ('in', 'both')
	   AND (type IS NULL OR connection_type = type)
	ORDER BY 5 DESC, 3;
END
$sql$, 'graph/nodes/*/both.jsonl: neighbours');

SELECT rowfs.make($sql$
CREATE FUNCTION graph.degree(node uuid)
RETURNS TABLE (in_degree bigint, out_degree bigint, total_degree bigint) LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT i, o, i + o
	  FROM (SELECT (SELECT count(*) FROM graph.connections WHERE target_id = node),
	               (SELECT count(*) FROM graph.connections WHERE source_id = node)) AS d (i, o)
	 WHERE EXISTS (SELECT FROM tokens.tokens WHERE id = node);
END
$sql$, 'graph/nodes/*/degree.json');

-- The shortest way along the connections, of at most DEPTH (and 10) of them.
SELECT rowfs.make($sql$
CREATE FUNCTION graph.path(src uuid, dst uuid, depth integer)
RETURNS TABLE (length integer, nodes uuid[]) LANGUAGE sql STABLE
BEGIN ATOMIC
	WITH RECURSIVE walk (node, nodes) AS (
		SELECT src, ARRAY[src]
		UNION ALL
		SELECT c.target_id, w.nodes || c.target_id
		  FROM walk AS w JOIN graph.connections AS c ON c.source_id = w.node
		 WHERE cardinality(w.nodes) <= least(depth, 10) AND NOT c.target_id = ANY (w.nodes)
		   AND w.node <> dst
	)
	SELECT cardinality(w.nodes) - 1, w.nodes FROM walk AS w WHERE w.node = dst ORDER BY 1 LIMIT 1;
END
$sql$, 'graph/path/: the shortest way between two nodes');

SELECT rowfs.make($sql$
CREATE TRIGGER bytes_and_columns BEFORE INSERT OR UPDATE ON tokens.tokens
	FOR EACH ROW EXECUTE FUNCTION tokens.bytes_and_columns()
$sql$, 'bytes and columns of a token stay together');
SELECT rowfs.make($sql$
CREATE TRIGGER line_to_event BEFORE INSERT ON experience.event_lines
	FOR EACH ROW EXECUTE FUNCTION experience.line_to_event()
$sql$, 'each line of experience_events.jsonl becomes an event');
SELECT rowfs.make($sql$
CREATE TRIGGER line_gone AFTER DELETE ON experience.event_lines
	FOR EACH ROW EXECUTE FUNCTION experience.line_gone()
$sql$, 'an event goes with its line');

-- A token as the API shows it.
SELECT rowfs.make($sql$
CREATE VIEW tokens.api AS
	SELECT t.id, tokens.uint(t.binary_data, 48, 4) AS id32, t.weight,
	       round(get_byte(t.binary_data, 58) / 100.0, 2) AS field_radius,
	       round(get_byte(t.binary_data, 59) / 255.0, 4) AS field_strength,
	       t.timestamp, t.token_type, t.flags,
	       (SELECT jsonb_object_agg('L' || l,
	                   CASE WHEN num_nonnulls(t.coord_x[l], t.coord_y[l], t.coord_z[l]) > 0
	                        THEN jsonb_build_array(t.coord_x[l], t.coord_y[l], t.coord_z[l]) END)
	          FROM generate_series(1, 8) AS l) AS coordinates,
	       t.metadata
	  FROM tokens.tokens AS t
$sql$, 'api/tokens and bulk/tokens.jsonl: tokens as the API shows them');

SELECT rowfs.make($sql$
CREATE VIEW graph.stats AS
	SELECT n.count AS node_count, c.count AS edge_count,
	       coalesce(2.0::float8 * c.count / nullif(n.count, 0), 0) AS avg_degree
	  FROM (SELECT count(*) FROM tokens.tokens) AS n, (SELECT count(*) FROM graph.connections) AS c
$sql$, 'graph/stats.json');

-- The line of experience_events.jsonl: the time in seconds, what has no column in metadata.
SELECT rowfs.make($sql$
CREATE VIEW experience.legacy AS
	SELECT e.id, e.metadata ->> 'event_id' AS event_id, e.event_type,
	       e.timestamp / 1000.0::float8 AS timestamp,
	       e.metadata ->> 'source_component' AS source_component, e.metadata -> 'data' AS data,
	       e.state_before AS state, e.action, e.reward,
	       e.state_after AS next_state, e.priority,
	       e.metadata - '{event_id,source_component,data}'::text[] AS metadata
	  FROM experience.experience_events AS e
$sql$, 'experience/experience_events.jsonl: events as lines of the old form');

-- The file of the API keys, where its program looks for it.
SELECT rowfs.make($sql$
CREATE VIEW neurograph.data_files AS
	SELECT name, body FROM neurograph.files WHERE name = 'api_keys.json'
	WITH CHECK OPTION
$sql$, 'data/api_keys.json, where its program looks for it');

-- Tokens whose coordinates at LEVEL (0 to 7) are in the box. Each level has an index of its own, so
-- the level stands in the statement.
SELECT rowfs.make($sql$
CREATE FUNCTION tokens.in_box(level integer, min_x float8, min_y float8, min_z float8,
                              max_x float8, max_y float8, max_z float8) RETURNS SETOF tokens.api
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF level NOT BETWEEN 0 AND 7 THEN
		RAISE check_violation USING MESSAGE = format('there is no level %s: 0 to 7', level);
	END IF;
	RETURN QUERY EXECUTE format(
		'SELECT a.* FROM tokens.tokens AS t JOIN tokens.api AS a USING (id)
		  WHERE point(t.coord_x[%1$s], t.coord_y[%1$s]) <@ box(point($1, $2), point($4, $5))
		    AND point(t.coord_z[%1$s], 0) <@ box(point($3, 0), point($6, 0))
		    AND t.coord_x[%1$s] IS NOT NULL AND t.coord_y[%1$s] IS NOT NULL
		    AND t.coord_z[%1$s] IS NOT NULL
		  ORDER BY a.id', level + 1)
		USING min_x, min_y, min_z, max_x, max_y, max_z;
END
$$
$sql$, 'region/: tokens in a box');

SELECT rowfs.make($sql$
CREATE FUNCTION tokens.api_write() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	x float8[];
	y float8[];
	z float8[];
	bytes bytea := decode(repeat('7f00', 24) || repeat('00', 16), 'hex'); -- all undefined
BEGIN
	IF TG_OP = 'DELETE' THEN
		DELETE FROM tokens.tokens WHERE id = OLD.id;
		RETURN OLD;
	END IF;
	IF TG_OP = 'UPDATE' THEN
		SELECT t.coord_x, t.coord_y, t.coord_z, t.binary_data INTO x, y, z, bytes
		  FROM tokens.tokens AS t WHERE t.id = OLD.id FOR UPDATE;
	END IF;
	NEW.id := coalesce(NEW.id, gen_random_uuid());
	NEW.id32 := coalesce(NEW.id32, 0);
	NEW.weight := coalesce(NEW.weight, 0.5);
	NEW.flags := coalesce(NEW.flags, 1);
	NEW.field_radius := coalesce(NEW.field_radius, 1.0);
	NEW.field_strength := coalesce(NEW.field_strength, 1.0);
	NEW.timestamp := coalesce(NEW.timestamp,
		(extract(epoch FROM clock_timestamp()) * 1000)::bigint);
	x := tokens.api_axis(coalesce(NEW.coordinates, '{}'), 0, x);
	y := tokens.api_axis(coalesce(NEW.coordinates, '{}'), 1, y);
	z := tokens.api_axis(coalesce(NEW.coordinates, '{}'), 2, z);
	bytes := tokens.pack_coordinates(x, y, z, bytes) || tokens.le(NEW.id32, 4)
		|| tokens.le(NEW.flags & 65535, 2) || tokens.le(tokens.real4_bits(NEW.weight::real), 4)
		|| tokens.le(greatest(0, least(255, round(NEW.field_radius * 100)))::bigint, 1)
		|| tokens.le(greatest(0, least(255, round(NEW.field_strength * 255)))::bigint, 1)
		|| tokens.le(NEW.timestamp / 1000, 4);
	IF TG_OP = 'INSERT' THEN
		INSERT INTO tokens.tokens (id, binary_data, coord_x, coord_y, coord_z, flags, weight,
		                           timestamp, token_type, metadata)
		VALUES (NEW.id, bytes, x, y, z, NEW.flags, NEW.weight, NEW.timestamp,
		        coalesce(NEW.token_type, 'default'), coalesce(NEW.metadata, '{}'));
	ELSE
		UPDATE tokens.tokens
		   SET id = NEW.id, binary_data = bytes, coord_x = x, coord_y = y, coord_z = z,
		       flags = NEW.flags, weight = NEW.weight, timestamp = NEW.timestamp,
		       token_type = NEW.token_type,
		       metadata = NEW.metadata, updated_at = now() AT TIME ZONE 'UTC'
		 WHERE id = OLD.id;
	END IF;
	RETURN NEW;
END
$$
$sql$, 'tokens as the API shows them can be written');

SELECT rowfs.make($sql$
CREATE FUNCTION experience.legacy_write() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	NEW.id := coalesce(NEW.id, gen_random_uuid());
	INSERT INTO experience.experience_events (id, event_type, timestamp, state_before, state_after,
	                                          action, reward, priority, metadata)
	VALUES (NEW.id, NEW.event_type, round(NEW.timestamp * 1000), NEW.state, NEW.next_state,
	        NEW.action, coalesce(NEW.reward, 0.0), coalesce(NEW.priority, 1.0),
	        coalesce(NEW.metadata, '{}')
	        || jsonb_strip_nulls(jsonb_build_object('event_id', NEW.event_id,
	                                                'source_component', NEW.source_component))
	        || CASE WHEN NEW.data IS NULL THEN '{}' ELSE jsonb_build_object('data', NEW.data) END);
	RETURN NEW;
END
$$
$sql$, 'lines of the old form can be added');

SELECT rowfs.make($sql$
CREATE TRIGGER api_write INSTEAD OF INSERT OR UPDATE OR DELETE ON tokens.api
	FOR EACH ROW EXECUTE FUNCTION tokens.api_write()
$sql$, 'tokens as the API shows them can be written');
SELECT rowfs.make($sql$
CREATE TRIGGER legacy_write INSTEAD OF INSERT ON experience.legacy
	FOR EACH ROW EXECUTE FUNCTION experience.legacy_write()
$sql$, 'lines of the old form can be added');

SELECT rowfs.pack_end();

\o
COMMIT;
