-- Verify rowfs_core:rowfs_owners on pg

BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp;

SELECT has_function_privilege(f, 'execute') FROM unnest(ARRAY['rowfs.owner()', 'rowfs.trigger_owner(regclass)',
	'rowfs.own_function(text, regclass)']) f;
SELECT 1 / (count(*) = 0)::int FROM pg_namespace n, aclexplode(n.nspacl) a
 WHERE n.nspname = 'rowfs' AND a.privilege_type = 'CREATE' AND a.grantee <> n.nspowner;

ROLLBACK;
