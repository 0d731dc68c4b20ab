-- Revert rowfs_voice_assistant:voice_assistant from pg
--
-- Drops what the pack has made, with its rows. What was there before it stays.

BEGIN;
\o /dev/null

SELECT rowfs.pack_remove('voice-assistant');

\o
COMMIT;
