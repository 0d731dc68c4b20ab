-- Sends the payloads of $1, an array of texts. Only who is awake needs to hear it: no need to wait
-- for the disk.
SELECT pg_catalog.set_config('synchronous_commit', 'off', true),
pg_catalog.count(pg_catalog.pg_notify(s.channel, x))
FROM rowfs.secret s, pg_catalog.unnest($1::text[]) x
