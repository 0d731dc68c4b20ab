-- Revert rowfs_voice_assistant:voice_assistant_files from pg

BEGIN;

DROP FUNCTION memory_cleanup_run();
DROP TABLE memory_cleanups;
DROP FUNCTION memory_cleanups_run();
DROP FUNCTION users_with_active_memory(integer);
DROP FUNCTION session_transcript(uuid);
DROP FUNCTION user_statistics(varchar);
DROP TRIGGER memory_moves ON users;
DROP FUNCTION memory_moves();
DROP FUNCTION check_memory_size(text, text);
DROP TRIGGER session_ends ON sessions;
DROP FUNCTION session_ends();

COMMIT;
