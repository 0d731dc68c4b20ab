-- Verify rowfs:rowfs_files_proof on pg

BEGIN;

SELECT xids FROM rowfs.file_rows WHERE false;

ROLLBACK;
