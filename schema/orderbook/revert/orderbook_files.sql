-- Revert rowfs_orderbook:orderbook_files from pg

BEGIN;

DROP INDEX idx_orderbook_files;

COMMIT;
