-- Verify rowfs_core:rowfs_files_proof on pg

BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp;

SELECT xids FROM rowfs.file_rows WHERE false;

ROLLBACK;
