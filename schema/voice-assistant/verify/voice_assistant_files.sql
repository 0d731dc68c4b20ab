-- Verify rowfs_voice_assistant:voice_assistant_files on pg

BEGIN;

SELECT total_sessions FROM user_statistics('');
SELECT llm_response FROM session_transcript('00000000-0000-0000-0000-000000000000');
SELECT hardware_id_hash FROM users_with_active_memory();
SELECT id, hours_old, cleaned, ran_at FROM memory_cleanups WHERE false;
SELECT has_function_privilege('memory_cleanup_run()', 'execute');
SELECT 1 / (count(*) = 3)::integer FROM pg_trigger
 WHERE (tgrelid, tgname) IN (('sessions'::regclass::oid, 'session_ends'),
                             ('users'::regclass::oid, 'memory_moves'),
                             ('memory_cleanups'::regclass::oid, 'memory_cleanups_run'));

ROLLBACK;
