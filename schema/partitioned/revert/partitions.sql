-- Revert rowfs_partitioned:partitions from pg
--
-- Tables that are partitioned stay so.

BEGIN;

DROP FUNCTION rowfs.unpartition_table(regclass, text[]);
DROP FUNCTION rowfs.prepare_partitions(regclass, regclass, text, bigint, text, interval);
DROP FUNCTION rowfs.partition_table(regclass, text, bigint, text, interval);
DROP FUNCTION rowfs.rebuild(regclass, text, text[], text);
DROP FUNCTION rowfs.drop_partitions(regclass, interval);
DROP FUNCTION rowfs.make_partitions(regclass, interval, timestamptz);
DROP FUNCTION rowfs.make_partition(regclass, timestamp);
DROP FUNCTION rowfs.partitions_of(regclass);
DROP FUNCTION rowfs.default_partition(regclass);
DROP FUNCTION rowfs.partition_column(regclass);
DROP FUNCTION rowfs.partition_bound(bigint, timestamp);
DROP TABLE rowfs.partitioned;

COMMIT;
