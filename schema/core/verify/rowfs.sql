-- Verify rowfs_core:rowfs on pg

BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp;

SELECT op, at FROM rowfs.applied WHERE false;
SELECT has_function_privilege('rowfs.forget_applied(interval)', 'execute');

ROLLBACK;
