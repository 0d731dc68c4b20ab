-- Revert rowfs_voice_assistant:voice_assistant from pg
-- The extension uuid-ossp stays: others may use it.

BEGIN;

DROP FUNCTION get_memory_stats();
DROP VIEW users_memory_view;
DROP FUNCTION cleanup_expired_short_term_memory(integer);
DROP TABLE performance_metrics, screenshots, llm_answers, commands, sessions, users;
DROP FUNCTION update_updated_at_column();

COMMIT;
