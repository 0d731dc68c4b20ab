-- Verify rowfs_core:rowfs_bound on pg

BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp;

SELECT has_function_privilege('rowfs.rebind()', 'execute');
SELECT 1 / (count(*) = 0)::int FROM rowfs.bound_elsewhere();

ROLLBACK;
