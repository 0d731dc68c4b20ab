-- Verify rowfs_core:rowfs_bounds on pg

BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp;

SELECT 1 / count(*) FROM pg_constraint
 WHERE conname = 'chunk_data' AND conrelid = 'rowfs.chunk'::regclass;

ROLLBACK;
