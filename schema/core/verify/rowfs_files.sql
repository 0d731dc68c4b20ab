-- Verify rowfs_core:rowfs_files on pg

BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp;

SELECT id, dir, name, size, mode, changed, state, op FROM rowfs.file WHERE false;
SELECT file, at, len, zlib, data FROM rowfs.chunk WHERE false;
SELECT file, ids FROM rowfs.file_rows WHERE false;

ROLLBACK;
