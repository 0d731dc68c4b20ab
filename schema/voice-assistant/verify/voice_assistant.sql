-- Verify rowfs_voice_assistant:voice_assistant on pg

BEGIN;

SELECT id, hardware_id_hash, created_at, updated_at, metadata, short_term_memory,
       long_term_memory, memory_updated_at FROM users WHERE false;
SELECT id, user_id, start_time, end_time, metadata, status, created_at, updated_at
  FROM sessions WHERE false;
SELECT id, session_id, prompt, language, metadata, created_at FROM commands WHERE false;
SELECT id, command_id, prompt, response, model_info, performance_metrics, created_at
  FROM llm_answers WHERE false;
SELECT id, session_id, file_path, file_url, metadata, created_at FROM screenshots WHERE false;
SELECT id, session_id, metric_type, metric_value, created_at
  FROM performance_metrics WHERE false;
SELECT id, hardware_id_hash FROM users_memory_view WHERE false;
SELECT has_function_privilege('cleanup_expired_short_term_memory(integer)', 'execute');
SELECT total_users FROM get_memory_stats();
SELECT 1 / (count(*) = 2)::integer FROM pg_trigger
 WHERE (tgrelid, tgname) IN (('users'::regclass::oid, 'update_users_updated_at'),
                             ('sessions'::regclass::oid, 'update_sessions_updated_at'));

ROLLBACK;
