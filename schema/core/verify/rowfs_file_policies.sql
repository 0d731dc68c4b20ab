-- Verify rowfs_core:rowfs_file_policies on pg

BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp;

SELECT relation FROM rowfs.file WHERE false;
SELECT has_function_privilege(f, 'execute')
  FROM unnest(ARRAY['rowfs.may_read(text)', 'rowfs.may_write(text)', 'rowfs.may_write_file(bigint)']) f;
SELECT 1 / (count(*) = 12)::int FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid AND c.relrowsecurity
 WHERE c.oid IN ('rowfs.file'::regclass, 'rowfs.chunk'::regclass, 'rowfs.file_rows'::regclass);

ROLLBACK;
