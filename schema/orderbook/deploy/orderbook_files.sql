-- Deploy rowfs_orderbook:orderbook_files to pg
--
-- A day's file is one range of this index, in the order of its lines; its first columns list the
-- exchanges and symbols without reading the table.

BEGIN;

CREATE INDEX idx_orderbook_files ON orderbook_data (exchange, symbol, timestamp, id);

COMMIT;
