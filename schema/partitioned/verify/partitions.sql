-- Verify rowfs_partitioned:partitions on pg

BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp;

SELECT relation, per_second, width, ahead, keep FROM rowfs.partitioned WHERE false;
SELECT has_function_privilege('rowfs.make_partitions(regclass, interval, timestamptz)', 'EXECUTE');
SELECT has_function_privilege('rowfs.drop_partitions(regclass, interval)', 'EXECUTE');
SELECT has_function_privilege('rowfs.partition_table(regclass, text, bigint, text, interval)', 'EXECUTE');
SELECT has_function_privilege('rowfs.unpartition_table(regclass, text[])', 'EXECUTE');

ROLLBACK;
