-- Verify rowfs_core:rowfs_locks on pg

BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp;

SELECT 1 / count(*) FROM rowfs.mutex WHERE name = 'fold' AND relation = 0;
SELECT has_function_privilege('rowfs.lock_mutex(text, regclass)', 'execute');
SELECT 1 / (count(*) = 0)::int FROM pg_proc p WHERE p.pronamespace = 'rowfs'::regnamespace AND p.prosrc LIKE '%advisory%';

ROLLBACK;
