-- Revert rowfs:rowfs from pg

BEGIN;

DROP FUNCTION rowfs.forget_applied(interval);
DROP TABLE rowfs.applied;
DROP SCHEMA rowfs;

COMMIT;
