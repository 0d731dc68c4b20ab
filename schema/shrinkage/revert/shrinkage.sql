-- Revert rowfs_shrinkage:shrinkage from pg
--
-- Drops what the pack has made, with its rows. What was there before it stays.

BEGIN;
\o /dev/null

SELECT rowfs.pack_remove('shrinkage');

\o
COMMIT;
