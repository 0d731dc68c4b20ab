-- Revert rowfs:rowfs from pg

BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp;

DROP FUNCTION rowfs.forget_applied(interval);
DROP TABLE rowfs.applied;
DROP SCHEMA rowfs;

COMMIT;
