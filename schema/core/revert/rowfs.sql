-- Revert rowfs_core:rowfs from pg
-- The schema stays as long as sqitch's own tables are in it; rowfs init --remove drops both.

BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp;

DROP FUNCTION rowfs.forget_applied(interval);
DROP TABLE rowfs.applied;

COMMIT;
