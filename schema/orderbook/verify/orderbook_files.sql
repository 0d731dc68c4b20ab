-- Verify rowfs_orderbook:orderbook_files on pg

BEGIN;

SELECT 'idx_orderbook_files'::regclass;

ROLLBACK;
