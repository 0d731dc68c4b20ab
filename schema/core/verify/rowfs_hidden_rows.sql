-- Verify rowfs_core:rowfs_hidden_rows on pg

BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp;

SELECT has_function_privilege('rowfs.sees_all(text)', 'execute');
SELECT 1 / (count(*) = 9)::int FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid AND c.relrowsecurity
 WHERE c.oid IN ('rowfs.slice'::regclass, 'rowfs.summary'::regclass, 'rowfs.delta'::regclass, 'rowfs.doubt'::regclass);

ROLLBACK;
