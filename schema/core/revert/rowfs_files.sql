-- Revert rowfs_core:rowfs_files from pg

BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp;

DROP TABLE rowfs.file_rows, rowfs.chunk, rowfs.file;

COMMIT;
