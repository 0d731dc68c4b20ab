-- Verify rowfs_partitioned:orderbook_partitioned on pg

BEGIN;

DO $$
DECLARE
	book regclass := 'orderbook_data'; -- where the deployer finds it
BEGIN
	PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
	PERFORM 1 / count(*) FROM pg_partitioned_table WHERE partrelid = book AND partdefid <> 0;
	PERFORM 1 / count(*) FROM rowfs.partitioned WHERE relation = book;
	PERFORM 1 / count(*) FROM rowfs.partitions_of(book);
END $$;

ROLLBACK;
