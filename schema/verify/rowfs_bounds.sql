-- Verify rowfs:rowfs_bounds on pg

BEGIN;

SELECT 1 / count(*) FROM pg_constraint
 WHERE conname = 'chunk_data' AND conrelid = 'rowfs.chunk'::regclass;

ROLLBACK;
