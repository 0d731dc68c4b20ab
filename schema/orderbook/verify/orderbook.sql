-- Verify rowfs_orderbook:orderbook on pg
--
-- What the pack has made or found is still there. What it could not make was said when it was deployed.

BEGIN;

SELECT rowfs.pack_verify('orderbook');

ROLLBACK;
