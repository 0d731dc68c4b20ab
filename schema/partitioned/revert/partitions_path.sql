-- Revert rowfs_partitioned:partitions_path from pg
--
-- The functions stay: "partitions" makes them so, too.

BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp;

COMMIT;
