-- Deploy rowfs_core:rowfs_bounds to pg
-- requires: rowfs_files
--
-- What no mount writes, nobody else can write either: offsets and lengths that are none. Mounts check what they read all the same.

BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp;

ALTER TABLE rowfs.file
	ADD CONSTRAINT file_size CHECK (size >= 0),
	ADD CONSTRAINT file_mode CHECK (mode BETWEEN 0 AND 4095);
ALTER TABLE rowfs.chunk
	ADD CONSTRAINT chunk_at CHECK (at >= 0),
	ADD CONSTRAINT chunk_len CHECK (len BETWEEN 0 AND 67108864),
	ADD CONSTRAINT chunk_data CHECK (octet_length(data) <= 67108864 AND (zlib OR octet_length(data) = len));

COMMIT;
