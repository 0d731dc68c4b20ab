-- Verify rowfs_core:rowfs_guard on pg

BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp;

SELECT has_function_privilege('rowfs.can_count(regclass)', 'execute');
SELECT 1 / (count(*) = 0)::int FROM pg_class c, aclexplode(c.relacl) a
 WHERE c.oid IN ('rowfs.delta'::regclass, 'rowfs.doubt'::regclass) AND a.grantee <> c.relowner
   AND a.privilege_type NOT IN ('SELECT', 'INSERT');

ROLLBACK;
