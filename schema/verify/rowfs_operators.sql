-- Verify rowfs:rowfs_operators on pg

BEGIN;

SELECT 1 / (count(*) = 1)::int FROM pg_proc WHERE oid = 'rowfs.send_notice(text, text)'::regprocedure AND prosrc LIKE '%pg_catalog.to_json%';

ROLLBACK;
