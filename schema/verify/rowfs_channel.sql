-- Verify rowfs:rowfs_channel on pg

BEGIN;

SELECT 1 / count(*) FROM rowfs.secret WHERE length(channel) = 38;
SELECT 1 / (prosrc LIKE '%s.channel%')::int FROM pg_proc WHERE oid = 'rowfs.notice_body(regclass)'::regprocedure;

ROLLBACK;
