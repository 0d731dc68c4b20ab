-- Revert rowfs_partitioned:orderbook_partitioned from pg

BEGIN;

SELECT rowfs.unpartition_table('orderbook_data', '{id}');

COMMIT;
