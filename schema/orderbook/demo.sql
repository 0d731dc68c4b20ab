-- A small, realistic data set for a first look. Running it again adds only what is missing.
--
--   psql CONNINFO -v ON_ERROR_STOP=1 -1 -f schema/orderbook/demo.sql

SET client_min_messages = warning;
SET client_encoding = 'UTF8';

-- Two exchanges, three symbols, two days, 300 rows each; a day that has rows already is left alone.
WITH days AS (
	SELECT e.exchange, e.n AS e, y.symbol, y.price, y.tick, d.day,
	       (extract(epoch FROM d.day) * 1000000)::bigint AS start
	  FROM (VALUES ('binance-futures', 0), ('bybit', 1)) AS e (exchange, n),
	       (VALUES ('BTCUSDT', 115659.8, 1), ('ETHUSDT', 4468.37, 2), ('SOLUSDT', 238.215, 3)) AS y (symbol, price, tick),
	       (VALUES (timestamptz '2025-09-20 00:00+00'), ('2025-09-21 00:00+00')) AS d (day)
)
INSERT INTO orderbook_data (exchange, symbol, timestamp, local_timestamp, ask_amount, ask_price, bid_price, bid_amount)
SELECT exchange, symbol, at, at + 1200 + (i * 7919) % 4000,
       CASE WHEN i % 97 <> 50 THEN round(0.5 + ((i * 7919 + e * 31) % 1000) / 97.0, 3) END,
       CASE WHEN i % 97 <> 50 THEN mid + 0.1 ^ tick END,
       CASE WHEN i % 89 <> 70 THEN mid END,
       CASE WHEN i % 89 <> 70 THEN round(0.5 + ((i * 104729 + e * 17) % 1000) / 89.0, 3) END
  FROM days, generate_series(0, 299) AS i,
       LATERAL (SELECT start + i * 288000000::bigint + (i * 7919) % 1000000,
                       round((price * (1 + 0.004 * sin(i / 40.0 + e) + 0.0005 * cos(i * 1.7)))::numeric, tick)) AS t (at, mid)
 WHERE NOT EXISTS (SELECT FROM orderbook_data o
                    WHERE o.exchange = days.exchange AND o.symbol = days.symbol
                      AND o.timestamp >= start AND o.timestamp < start + 86400000000)
 ORDER BY at;
