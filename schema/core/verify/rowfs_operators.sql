-- Verify rowfs_core:rowfs_operators on pg

BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp;

-- a body that was parsed when it was made means the same for everybody, too
SELECT 1 / (count(*) = 1)::int FROM pg_proc WHERE oid = 'rowfs.send_notice(text, text)'::regprocedure
   AND (prosrc LIKE '%pg_catalog.to_json%' OR prosqlbody IS NOT NULL);

ROLLBACK;
