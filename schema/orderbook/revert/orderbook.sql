-- Revert rowfs_orderbook:orderbook from pg

BEGIN;

DROP TABLE orderbook_data;

COMMIT;
