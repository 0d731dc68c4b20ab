-- Deploy rowfs_partitioned:orderbook_partitioned to pg
-- requires: partitions
-- requires: rowfs_orderbook:orderbook
--
-- The order book in months of its timestamp, with the rows that it has. Its key is (id, timestamp) then.

BEGIN;

SELECT rowfs.partition_table('orderbook_data', 'timestamp', 1000000);

COMMIT;
