-- Verify rowfs_neurograph:neurograph_files on pg

BEGIN;

SELECT id, event_id, event_type, timestamp, state, action, reward, next_state, priority, rest, event
  FROM experience.event_lines WHERE false;
SELECT id, timestamp, event_id, processing, data FROM experience.action_log WHERE false;
SELECT name, body FROM neurograph.files WHERE false;
SELECT name, body FROM neurograph.data_files WHERE false;
SELECT id, id32, weight, field_radius, field_strength, timestamp, token_type, flags, coordinates,
       metadata FROM tokens.api WHERE false;
SELECT node_count, edge_count, avg_degree FROM graph.stats;
SELECT id, event_id, event_type, timestamp, source_component, data, state, action, reward,
       next_state, priority, metadata FROM experience.legacy WHERE false;

SELECT 1 / (count(*) = 3)::integer FROM pg_constraint
 WHERE contype = 'p' AND conrelid IN ('experience.event_lines'::regclass,
                                      'experience.action_log'::regclass,
                                      'neurograph.files'::regclass);
SELECT 'tokens.scale(integer, integer)'::regprocedure,
       'tokens.uint(bytea, integer, integer)'::regprocedure,
       'tokens.le(bigint, integer)'::regprocedure,
       'tokens.coordinate(bigint, integer, integer)'::regprocedure,
       'tokens.axis(bytea, integer)'::regprocedure,
       'tokens.real4(bigint)'::regprocedure,
       'tokens.real4_bits(real)'::regprocedure,
       'tokens.pack_coordinates(float8[], float8[], float8[], bytea)'::regprocedure,
       'tokens.api_axis(jsonb, integer, float8[])'::regprocedure;
SELECT neighbour FROM graph.neighbours(NULL);
SELECT id FROM graph.incoming(NULL);
SELECT total_degree FROM graph.degree(NULL);
SELECT length FROM graph.path(NULL, NULL, 1);
SELECT id FROM experience.recent(0);
SELECT id FROM experience.of_trajectory(NULL);
SELECT id FROM tokens.in_box(0, 0, 0, 0, 0, 0, 0) WHERE false;

SELECT 1 / (count(*) = 5)::integer FROM pg_trigger
 WHERE (tgrelid, tgname) IN (
	('tokens.tokens'::regclass, 'bytes_and_columns'), ('tokens.api'::regclass, 'api_write'),
	('experience.event_lines'::regclass, 'line_to_event'),
	('experience.event_lines'::regclass, 'line_gone'),
	('experience.legacy'::regclass, 'legacy_write'));
SELECT 'tokens.tokens_token_type_id'::regclass,
       'experience.experience_events_timestamp_id'::regclass,
       'experience.event_lines_event'::regclass, 'tokens.tokens_box_0'::regclass,
       'tokens.tokens_box_1'::regclass, 'tokens.tokens_box_2'::regclass,
       'tokens.tokens_box_3'::regclass, 'tokens.tokens_box_4'::regclass,
       'tokens.tokens_box_5'::regclass, 'tokens.tokens_box_6'::regclass,
       'tokens.tokens_box_7'::regclass;

ROLLBACK;
