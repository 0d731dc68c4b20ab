-- Revert rowfs:rowfs_files_proof from pg

BEGIN;

ALTER TABLE rowfs.file_rows DROP COLUMN xids;

COMMIT;
