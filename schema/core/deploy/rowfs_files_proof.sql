-- Deploy rowfs_core:rowfs_files_proof to pg
-- requires: rowfs_files
--
-- Which transactions brought an ingest file's rows. An id alone does not say whose a row is: after TRUNCATE ... RESTART
-- IDENTITY, setval(), or DROP and CREATE, other rows get the same ids. A row that still shows its transaction (xmin) is the
-- file's. NULL, for what came before this change: rows are compared with the file's lines.

BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp;

ALTER TABLE rowfs.file_rows ADD COLUMN xids xid[];

COMMIT;
