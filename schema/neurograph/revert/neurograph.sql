-- Revert rowfs_neurograph:neurograph from pg
--
-- Drops what the pack has made, with its rows. What was there before it stays.

BEGIN;
\o /dev/null

SELECT rowfs.pack_remove('neurograph');

\o
COMMIT;
