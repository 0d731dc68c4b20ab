-- The numbers are LIVES and LISTENS of schema/notice/peers.c.
SELECT k::pg_catalog.text, pg_catalog.pg_try_advisory_xact_lock(1919316737, k),
pg_catalog.pg_try_advisory_xact_lock(1919316738, k)
FROM pg_catalog.unnest($1::pg_catalog.text::pg_catalog.int4[]) k
