-- Verify rowfs_partitioned:orderbook_partitioned on pg

BEGIN;

SELECT 1 / count(*) FROM pg_partitioned_table WHERE partrelid = 'orderbook_data'::regclass AND partdefid <> 0;
SELECT 1 / count(*) FROM rowfs.partitioned WHERE relation = 'orderbook_data'::regclass;
SELECT 1 / count(*) FROM rowfs.partitions_of('orderbook_data');

ROLLBACK;
