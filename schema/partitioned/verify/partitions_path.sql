-- Verify rowfs_partitioned:partitions_path on pg

BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp;

SELECT has_function_privilege('rowfs.drop_partitions(regclass, interval, text)', 'execute');
SELECT 1 / (count(*) = 0)::int FROM rowfs.bound_elsewhere();
-- each in PL/pgSQL has a search path of its own (others of the schema may say every schema instead)
SELECT 1 / (count(*) = 0)::int FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
 WHERE p.pronamespace = 'rowfs'::regnamespace AND l.lanname = 'plpgsql' AND p.prorettype <> 'trigger'::regtype
   AND p.proname ~ 'partition|^(rebuild|run_under)$'
   AND NOT EXISTS (SELECT FROM unnest(p.proconfig) c WHERE c LIKE 'search_path=%');

ROLLBACK;
