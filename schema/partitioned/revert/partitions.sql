-- Revert rowfs_partitioned:partitions from pg
--
-- Tables that are partitioned stay so. The functions may be older than partitions_path.

BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp;

DROP FUNCTION rowfs.unpartition_table(regclass, text[]);
DROP FUNCTION IF EXISTS rowfs.unpartition_table(regclass, text[], text);
DROP FUNCTION IF EXISTS rowfs.prepare_partitions(regclass, regclass, text, bigint, text, interval);
DROP FUNCTION IF EXISTS rowfs.prepare_partitions(regclass, regclass, text, bigint, text, interval, text);
DROP FUNCTION IF EXISTS rowfs.partition_starts(regclass, text, bigint, text, timestamp, text);
DROP FUNCTION IF EXISTS rowfs.run_under(text, text[]);
DROP FUNCTION rowfs.partition_table(regclass, text, bigint, text, interval);
DROP FUNCTION IF EXISTS rowfs.partition_table(regclass, text, bigint, text, interval, text);
DROP FUNCTION rowfs.rebuild(regclass, text, text[], text);
DROP FUNCTION IF EXISTS rowfs.rebuild(regclass, text, text[], text, text);
DROP FUNCTION rowfs.drop_partitions(regclass, interval);
DROP FUNCTION IF EXISTS rowfs.drop_partitions(regclass, interval, text);
DROP FUNCTION rowfs.make_partitions(regclass, interval, timestamptz);
DROP FUNCTION IF EXISTS rowfs.make_partitions(regclass, interval, timestamptz, text);
DROP FUNCTION rowfs.make_partition(regclass, timestamp);
DROP FUNCTION IF EXISTS rowfs.make_partition(regclass, timestamp, text);
DROP FUNCTION rowfs.partitions_of(regclass);
DROP FUNCTION rowfs.default_partition(regclass);
DROP FUNCTION rowfs.partition_column(regclass);
DROP FUNCTION rowfs.partition_bound(bigint, timestamp);
DROP TABLE rowfs.partitioned;

COMMIT;
