-- A small data set for a first look at NeuroGraph. Running it again adds only what is missing.
--
--   psql CONNINFO -v ON_ERROR_STOP=1 -1 -f schema/neurograph/demo.sql

SET client_min_messages = warning;
SET client_encoding = 'UTF8';

CREATE FUNCTION pg_temp.demo_id(name text) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
	SELECT md5('rowfs-demo/neurograph/' || name)::uuid
$$;

-- 24 tokens on a spiral: a place (L1) each, every third with a mood (L4) too.
INSERT INTO tokens.api (id, id32, weight, field_radius, field_strength, timestamp, token_type,
                        flags, coordinates, metadata)
SELECT pg_temp.demo_id('token/' || n), n, 0.5 + n % 5 * 0.1, 1.0, 0.5 + n % 4 * 0.125,
       1758365391000 + n * 1000, (ARRAY['word', 'image', 'sound'])[1 + n % 3], 1,
       jsonb_build_object('L1', jsonb_build_array(round((n * cos(n / 4.0))::numeric, 2),
                                                  round((n * sin(n / 4.0))::numeric, 2), n / 10.0))
       || CASE WHEN n % 3 = 0 THEN '{"L4": [0.25, -0.5, 0.9]}' ELSE '{}' END::jsonb,
       jsonb_build_object('слово', (ARRAY['кошка', 'дом', 'море', 'свет'])[1 + n % 4], 'n', n)
  FROM generate_series(1, 24) AS n
 WHERE NOT EXISTS (SELECT FROM tokens.tokens WHERE id = pg_temp.demo_id('token/' || n));

-- Each is connected with the next, and every fourth with the first.
INSERT INTO graph.connections (id, source_id, target_id, connection_type, weight, bidirectional)
SELECT pg_temp.demo_id(format('connection/%s/%s', s, t)), pg_temp.demo_id('token/' || s),
       pg_temp.demo_id('token/' || t), CASE t WHEN 1 THEN 'memory' ELSE 'synapse' END,
       round(1.0 / (1 + abs(s - t)), 3), t = 1
  FROM generate_series(1, 24) AS s,
       LATERAL (SELECT s + 1 WHERE s < 24 UNION SELECT 1 WHERE s % 4 = 0) AS x (t)
ON CONFLICT DO NOTHING;

INSERT INTO graph.graph_snapshots (id, generation, fitness, node_count, edge_count, avg_degree,
                                   graph_data)
VALUES (pg_temp.demo_id('snapshot/1'), 1, 0.42, 24, 29, 2.4166, '{"nodes": 24, "edges": 29}')
ON CONFLICT DO NOTHING;

INSERT INTO tokens.spatial_index (id, region_id, min_x, min_y, min_z, max_x, max_y, max_z,
                                  token_count)
SELECT pg_temp.demo_id('region/' || r), r, x, -25, 0, x + 25, 25, 3,
       (SELECT count(*) FROM tokens.in_box(0, x, -25, 0, x + 25, 25, 3))
  FROM (VALUES ('left', -25), ('right', 0)) AS v (r, x)
ON CONFLICT DO NOTHING;

INSERT INTO experience.experience_trajectories (id, start_time, end_time, event_count, total_reward)
VALUES (pg_temp.demo_id('trajectory/1'), 1758365391000, 1758365400000, 10, 2.5)
ON CONFLICT DO NOTHING;
INSERT INTO experience.experience_events (id, event_type, timestamp, token_id, state_before,
                                          state_after, action, reward, priority, trajectory_id,
                                          sequence_number, metadata)
SELECT pg_temp.demo_id('event/' || n), 'rl.step', 1758365391000 + n * 1000,
       pg_temp.demo_id('token/' || n), jsonb_build_array(n / 10.0),
       jsonb_build_array((n + 1) / 10.0), '[1.0]', n % 3 * 0.25, 0.5,
       pg_temp.demo_id('trajectory/1'), n,
       jsonb_build_object('event_id', 'demo_' || n, 'source_component', 'agent')
  FROM generate_series(1, 10) AS n
ON CONFLICT DO NOTHING;
