-- Deploy rowfs_orderbook:orderbook to pg
--
-- The order-book table, as its collectors know it. Unqualified: it goes to the first schema of the
-- search path. Both timestamps are microseconds since 1970.

BEGIN;

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
);
CREATE INDEX idx_orderbook_symbol_timestamp ON orderbook_data (symbol, timestamp);
CREATE INDEX idx_orderbook_created_at ON orderbook_data (created_at);
CREATE INDEX idx_orderbook_symbol ON orderbook_data (symbol);

COMMIT;
