-- Revert rowfs:rowfs_files from pg

BEGIN;

DROP TABLE rowfs.file_rows, rowfs.chunk, rowfs.file;

COMMIT;
