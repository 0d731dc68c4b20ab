-- Deploy rowfs_core:rowfs_files to pg
-- requires: rowfs
--
-- Ingest files: their bytes as they were written, and which rows came from them.

BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp;

CREATE TABLE rowfs.file (
	id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	dir     text NOT NULL,                          -- "/collector"
	name    text NOT NULL,
	size    bigint NOT NULL DEFAULT 0,              -- bytes committed: the file's ledger
	mode    integer NOT NULL DEFAULT 420,           -- 0644
	changed timestamptz NOT NULL DEFAULT now(),
	state   jsonb NOT NULL DEFAULT '{}',            -- where the parser goes on
	op      uuid NOT NULL DEFAULT gen_random_uuid(), -- of the last change: who changes it names the one before
	UNIQUE (dir, name)
) WITH (fillfactor = 50);

CREATE TABLE rowfs.chunk (
	file  bigint NOT NULL REFERENCES rowfs.file ON DELETE CASCADE,
	at    bigint NOT NULL,                          -- offset of its first byte
	len   integer NOT NULL,                         -- bytes, uncompressed
	zlib  boolean NOT NULL,                         -- data is compressed
	data  bytea NOT NULL,
	PRIMARY KEY (file, at)
);
ALTER TABLE rowfs.chunk ALTER COLUMN data SET STORAGE EXTERNAL;

CREATE TABLE rowfs.file_rows (
	file bigint NOT NULL REFERENCES rowfs.file ON DELETE CASCADE,
	ids  int8multirange NOT NULL                    -- of the rows that came from it
);
CREATE INDEX file_rows_file ON rowfs.file_rows (file);

COMMIT;
