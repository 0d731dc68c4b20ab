-- Verify rowfs_core:rowfs_silent on pg

BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp;

SELECT 1 / (count(*) = 0)::int FROM pg_proc
 WHERE oid IN ('rowfs.watch_body(regclass)'::regprocedure, 'rowfs.notice_body(regclass)'::regprocedure) AND prosrc LIKE '%RAISE WARNING%';

ROLLBACK;
