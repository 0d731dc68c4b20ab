-- Revert rowfs_core:rowfs_bounds from pg

BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp;

ALTER TABLE rowfs.chunk DROP CONSTRAINT chunk_at, DROP CONSTRAINT chunk_len, DROP CONSTRAINT chunk_data;
ALTER TABLE rowfs.file DROP CONSTRAINT file_size, DROP CONSTRAINT file_mode;

COMMIT;
