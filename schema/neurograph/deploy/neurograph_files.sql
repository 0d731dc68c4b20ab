-- Deploy rowfs_neurograph:neurograph_files to pg
-- requires: neurograph_tables
--
-- What NeuroGraph's tables need to be served as files. Functions in SQL are bound to what they use
-- here and now (BEGIN ATOMIC). Those in plpgsql have a search path of their own.

BEGIN;

SET LOCAL search_path = pg_catalog, pg_temp; -- operators are PostgreSQL's own

CREATE SCHEMA neurograph; -- what is of neither tokens, graph nor experience

-- experience_events.jsonl, line by line. A line without a type or a time ({"raw": …}) is no event.
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
);

CREATE TABLE experience.action_log (
	id         bigserial PRIMARY KEY,
	timestamp  timestamp NOT NULL,
	event_id   text,
	processing jsonb,
	data       text
);

-- Whole files of fixed names. A body that is NULL is no file: programs then start with their
-- defaults.
CREATE TABLE neurograph.files (
	name text PRIMARY KEY,
	body bytea
);
INSERT INTO neurograph.files (name) VALUES
	('api_keys.json'), ('action_controller_config.json'), ('bootstrap_map.json'),
	('gateway_events.log'), ('graph.wal'), ('pca_model.bin');

CREATE INDEX tokens_token_type_id ON tokens.tokens (token_type, id);
CREATE INDEX experience_events_timestamp_id ON experience.experience_events (timestamp, id);
CREATE INDEX event_lines_event ON experience.event_lines (event);

-- Boxes: one index a level. Points and boxes are built in, so that no extension is needed.
CREATE INDEX tokens_box_0 ON tokens.tokens
	USING gist (point(coord_x[1], coord_y[1]), point(coord_z[1], 0))
	WHERE coord_x[1] IS NOT NULL AND coord_y[1] IS NOT NULL AND coord_z[1] IS NOT NULL;
CREATE INDEX tokens_box_1 ON tokens.tokens
	USING gist (point(coord_x[2], coord_y[2]), point(coord_z[2], 0))
	WHERE coord_x[2] IS NOT NULL AND coord_y[2] IS NOT NULL AND coord_z[2] IS NOT NULL;
CREATE INDEX tokens_box_2 ON tokens.tokens
	USING gist (point(coord_x[3], coord_y[3]), point(coord_z[3], 0))
	WHERE coord_x[3] IS NOT NULL AND coord_y[3] IS NOT NULL AND coord_z[3] IS NOT NULL;
CREATE INDEX tokens_box_3 ON tokens.tokens
	USING gist (point(coord_x[4], coord_y[4]), point(coord_z[4], 0))
	WHERE coord_x[4] IS NOT NULL AND coord_y[4] IS NOT NULL AND coord_z[4] IS NOT NULL;
CREATE INDEX tokens_box_4 ON tokens.tokens
	USING gist (point(coord_x[5], coord_y[5]), point(coord_z[5], 0))
	WHERE coord_x[5] IS NOT NULL AND coord_y[5] IS NOT NULL AND coord_z[5] IS NOT NULL;
CREATE INDEX tokens_box_5 ON tokens.tokens
	USING gist (point(coord_x[6], coord_y[6]), point(coord_z[6], 0))
	WHERE coord_x[6] IS NOT NULL AND coord_y[6] IS NOT NULL AND coord_z[6] IS NOT NULL;
CREATE INDEX tokens_box_6 ON tokens.tokens
	USING gist (point(coord_x[7], coord_y[7]), point(coord_z[7], 0))
	WHERE coord_x[7] IS NOT NULL AND coord_y[7] IS NOT NULL AND coord_z[7] IS NOT NULL;
CREATE INDEX tokens_box_7 ON tokens.tokens
	USING gist (point(coord_x[8], coord_y[8]), point(coord_z[8], 0))
	WHERE coord_x[8] IS NOT NULL AND coord_y[8] IS NOT NULL AND coord_z[8] IS NOT NULL;

-- The record of 64 bytes, little endian: 24 int16 (levels 0 to 7, each x, y, z), u32 id, u16 flags,
-- f32 weight, u8 radius * 100, u8 strength * 255, u32 seconds. A coordinate of 127 is "undefined".

CREATE FUNCTION tokens.scale(level integer, axis integer) RETURNS float8
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT CASE WHEN level = 6 AND axis = 2 THEN 1000
	            ELSE (ARRAY[100, 10000, 1000, 10000, 10000, 10000, 100, 10000])[level + 1]
	       END::float8;
END;

-- N bytes of B from AT on (counted from 0) as a number: 1, 2 or 4. Without aggregates, PostgreSQL
-- puts these functions into the statement, which makes them ten times as fast.
CREATE FUNCTION tokens.uint(b bytea, at integer, n integer) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT get_byte(b, at)::bigint
	       + CASE WHEN n > 1 THEN get_byte(b, at + 1)::bigint << 8 ELSE 0 END
	       + CASE WHEN n > 2 THEN (get_byte(b, at + 2)::bigint << 16)
	                              + (get_byte(b, at + 3)::bigint << 24) ELSE 0 END;
END;

-- The number V in N bytes: 1, 2 or 4.
CREATE FUNCTION tokens.le(v bigint, n integer) RETURNS bytea
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT substr(set_byte(set_byte(set_byte(set_byte('\x00000000'::bytea, 0, (v & 255)::integer),
	       1, ((v >> 8) & 255)::integer), 2, ((v >> 16) & 255)::integer),
	       3, ((v >> 24) & 255)::integer), 1, n);
END;

-- What the two bytes U of a coordinate say.
CREATE FUNCTION tokens.coordinate(u bigint, level integer, axis integer) RETURNS float8
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT CASE WHEN u <> 127
	            THEN (CASE WHEN u > 32767 THEN u - 65536 ELSE u END) / tokens.scale(level, axis)
	       END;
END;

-- One axis (0: x) of the record B at its eight levels.
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
END;

-- The float of four bytes whose bits are U, and the bits of one.
CREATE FUNCTION tokens.real4(u bigint) RETURNS float8
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT CASE WHEN u >> 31 = 1 THEN -1 ELSE 1 END * CASE
		WHEN (u >> 23) & 255 = 255 AND u & 8388607 <> 0 THEN 'NaN'::float8
		WHEN (u >> 23) & 255 = 255 THEN 'Infinity'::float8
		WHEN (u >> 23) & 255 = 0 THEN (u & 8388607) * 2::float8 ^ (-149)
		ELSE ((u & 8388607) + 8388608) * 2::float8 ^ (((u >> 23) & 255) - 150)::float8 END;
END;
CREATE FUNCTION tokens.real4_bits(r real) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT sum(get_byte(float4send(r), i)::bigint << (24 - 8 * i))::bigint
	  FROM generate_series(0, 3) AS i;
END;

-- The first 48 bytes. What OLD says already keeps its bytes: 0.29 * 100 is not quite 29.
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
END;

-- Bytes and columns say the same, part by part: the side that was changed decides. If both were
-- changed, both are taken as they are.
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
$$;

-- One axis of the levels {"L1": [x, y, z], …}; a level that they do not name keeps what OLD says.
CREATE FUNCTION tokens.api_axis(levels jsonb, axis integer, old float8[]) RETURNS float8[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT array_agg(CASE WHEN levels ? ('L' || l) THEN (levels -> ('L' || l) ->> axis)::float8
	                      ELSE old[l] END ORDER BY l)
	  FROM generate_series(1, 8) AS l;
END;

-- Each line becomes an event, and its event goes with it.
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
$$;

CREATE FUNCTION experience.line_gone() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	DELETE FROM experience.experience_events WHERE id = OLD.event;
	RETURN NULL;
END
$$;

CREATE FUNCTION experience.recent(count integer) RETURNS SETOF experience.experience_events
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT * FROM experience.experience_events ORDER BY timestamp DESC, id DESC LIMIT recent.count;
END;

-- trajectory_id has no foreign key, so that no path joins the two tables.
CREATE FUNCTION experience.of_trajectory(trajectory uuid) RETURNS SETOF experience.experience_events
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT * FROM experience.experience_events WHERE trajectory_id = trajectory
	 ORDER BY sequence_number, id;
END;

CREATE FUNCTION graph.incoming(node uuid) RETURNS SETOF graph.connections LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT * FROM graph.connections WHERE target_id = node ORDER BY weight DESC, id;
END;

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
END;

CREATE FUNCTION graph.degree(node uuid)
RETURNS TABLE (in_degree bigint, out_degree bigint, total_degree bigint) LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT i, o, i + o
	  FROM (SELECT (SELECT count(*) FROM graph.connections WHERE target_id = node),
	               (SELECT count(*) FROM graph.connections WHERE source_id = node)) AS d (i, o)
	 WHERE EXISTS (SELECT FROM tokens.tokens WHERE id = node);
END;

-- The shortest way along the connections, of at most DEPTH (and 10) of them.
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
END;

CREATE TRIGGER bytes_and_columns BEFORE INSERT OR UPDATE ON tokens.tokens
	FOR EACH ROW EXECUTE FUNCTION tokens.bytes_and_columns();
CREATE TRIGGER line_to_event BEFORE INSERT ON experience.event_lines
	FOR EACH ROW EXECUTE FUNCTION experience.line_to_event();
CREATE TRIGGER line_gone AFTER DELETE ON experience.event_lines
	FOR EACH ROW EXECUTE FUNCTION experience.line_gone();

-- A token as the API shows it.
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
	  FROM tokens.tokens AS t;

CREATE VIEW graph.stats AS
	SELECT n.count AS node_count, c.count AS edge_count,
	       coalesce(2.0::float8 * c.count / nullif(n.count, 0), 0) AS avg_degree
	  FROM (SELECT count(*) FROM tokens.tokens) AS n, (SELECT count(*) FROM graph.connections) AS c;

-- The line of experience_events.jsonl: the time in seconds, what has no column in metadata.
CREATE VIEW experience.legacy AS
	SELECT e.id, e.metadata ->> 'event_id' AS event_id, e.event_type,
	       e.timestamp / 1000.0::float8 AS timestamp,
	       e.metadata ->> 'source_component' AS source_component, e.metadata -> 'data' AS data,
	       e.state_before AS state, e.action, e.reward,
	       e.state_after AS next_state, e.priority,
	       e.metadata - '{event_id,source_component,data}'::text[] AS metadata
	  FROM experience.experience_events AS e;

-- The file of the API keys, where its program looks for it.
CREATE VIEW neurograph.data_files AS
	SELECT name, body FROM neurograph.files WHERE name = 'api_keys.json'
	WITH CHECK OPTION;

-- Tokens whose coordinates at LEVEL (0 to 7) are in the box. Each level has an index of its own, so
-- the level stands in the statement.
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
$$;

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
$$;

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
$$;

CREATE TRIGGER api_write INSTEAD OF INSERT OR UPDATE OR DELETE ON tokens.api
	FOR EACH ROW EXECUTE FUNCTION tokens.api_write();
CREATE TRIGGER legacy_write INSTEAD OF INSERT ON experience.legacy
	FOR EACH ROW EXECUTE FUNCTION experience.legacy_write();

COMMIT;
