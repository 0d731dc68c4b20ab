SELECT identity, pg_catalog.format('%s rows', n) FROM rowfs.pack_rows($1) AS r(identity, n)
WHERE n > 0 LIMIT 1
