-- Verify rowfs_orderbook:orderbook on pg

BEGIN;

SELECT id, exchange, symbol, timestamp, local_timestamp, ask_amount, ask_price, bid_price,
       bid_amount, created_at FROM orderbook_data WHERE false;

ROLLBACK;
