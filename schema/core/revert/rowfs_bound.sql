-- Revert rowfs_core:rowfs_bound from pg
--
-- What was bound anew stays so.

BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp;

DROP FUNCTION rowfs.rebind(), rowfs.bound_elsewhere();

COMMIT;
