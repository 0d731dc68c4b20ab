-- Revert rowfs_neurograph:neurograph_files from pg
--
-- What event_lines has become stays in experience_events.

BEGIN;

DROP VIEW experience.legacy;
DROP FUNCTION experience.legacy_write();
DROP FUNCTION tokens.in_box(integer, float8, float8, float8, float8, float8, float8);
DROP VIEW neurograph.data_files, graph.stats, tokens.api;
DROP FUNCTION tokens.api_write();
DROP TRIGGER bytes_and_columns ON tokens.tokens;
DROP TABLE neurograph.files, experience.action_log, experience.event_lines;
DROP FUNCTION graph.path(uuid, uuid, integer);
DROP FUNCTION graph.degree(uuid);
DROP FUNCTION graph.neighbours(uuid, text, text);
DROP FUNCTION graph.incoming(uuid);
DROP FUNCTION experience.of_trajectory(uuid);
DROP FUNCTION experience.recent(integer);
DROP FUNCTION experience.line_gone();
DROP FUNCTION experience.line_to_event();
DROP FUNCTION tokens.api_axis(jsonb, integer, float8[]);
DROP FUNCTION tokens.bytes_and_columns();
DROP FUNCTION tokens.pack_coordinates(float8[], float8[], float8[], bytea);
DROP FUNCTION tokens.real4_bits(real);
DROP FUNCTION tokens.real4(bigint);
DROP FUNCTION tokens.axis(bytea, integer);
DROP FUNCTION tokens.coordinate(bigint, integer, integer);
DROP FUNCTION tokens.le(bigint, integer);
DROP FUNCTION tokens.uint(bytea, integer, integer);
DROP FUNCTION tokens.scale(integer, integer);
DROP INDEX tokens.tokens_box_0, tokens.tokens_box_1, tokens.tokens_box_2, tokens.tokens_box_3,
	tokens.tokens_box_4, tokens.tokens_box_5, tokens.tokens_box_6, tokens.tokens_box_7;
DROP INDEX experience.experience_events_timestamp_id, tokens.tokens_token_type_id;
DROP SCHEMA neurograph;

COMMIT;
