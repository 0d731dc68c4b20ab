-- Deploy rowfs_partitioned:partitions_path to pg
-- requires: partitions
-- requires: rowfs_core:rowfs_bound
--
-- Functions mean PostgreSQL's own operators and functions, whatever the search path, where "partitions" has made them
-- before it did so itself. psql can run this script by itself, as often as one likes.

BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp;

\ir ../functions.sql

-- what "partitions" has bound under another path
SELECT rowfs.rebind();

COMMIT;
