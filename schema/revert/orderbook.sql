-- Revert rowfs:orderbook from pg

BEGIN;

DROP TABLE orderbook_data;

COMMIT;
