-- Deploy rowfs_orderbook:orderbook to pg
-- requires: rowfs_core:rowfs_packs
--
-- The order-book table, as its collectors know it, and the index that its files are read by. What
-- is there already is taken as it is (docs/PACKS.md). Both timestamps are microseconds since 1970.

BEGIN;
\o /dev/null

SELECT rowfs.pack_begin('orderbook', 'orderbook_data');

SELECT rowfs.make($sql$
CREATE TABLE orderbook_data (
	id              bigserial PRIMARY KEY,
	exchange        varchar(50) NOT NULL DEFAULT 'binance-futures',
	symbol          varchar(20) NOT NULL,
	timestamp       bigint NOT NULL,
	local_timestamp bigint NOT NULL,
	ask_amount      decimal(20,8),
	ask_price       decimal(20,8),
	bid_price       decimal(20,8),
	bid_amount      decimal(20,8),
	created_at      timestamp DEFAULT current_timestamp
)
$sql$, 'orderbook/: the files of the order book');
SELECT rowfs.make($sql$
CREATE INDEX idx_orderbook_symbol_timestamp ON orderbook_data (symbol, timestamp)
$sql$);
SELECT rowfs.make($sql$
CREATE INDEX idx_orderbook_created_at ON orderbook_data (created_at)
$sql$);
SELECT rowfs.make($sql$CREATE INDEX idx_orderbook_symbol ON orderbook_data (symbol)$sql$);
-- A day's file is one range of this index, in the order of its lines; its first columns list the
-- exchanges and symbols without reading the table.
SELECT rowfs.make($sql$
CREATE INDEX idx_orderbook_files ON orderbook_data (exchange, symbol, timestamp, id)
$sql$, 'reading a day''s file, and listing exchanges and symbols, does not read the whole table');

SELECT rowfs.pack_end();

\o
COMMIT;
