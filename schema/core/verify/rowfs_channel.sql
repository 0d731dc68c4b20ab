-- Verify rowfs_core:rowfs_channel on pg

BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp;

SELECT 1 / count(*) FROM rowfs.secret WHERE length(channel) = 38;
SELECT 1 / (prosrc LIKE '%s.channel%')::int FROM pg_proc WHERE oid = 'rowfs.notice_body(regclass)'::regprocedure;

ROLLBACK;
