-- Revert rowfs_core:rowfs_files_proof from pg

BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp;

ALTER TABLE rowfs.file_rows DROP COLUMN xids;

COMMIT;
