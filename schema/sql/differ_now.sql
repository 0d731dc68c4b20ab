SELECT type, identity, pg_catalog.array_to_string(differs, '; '), promise
FROM rowfs.differences($1::text) ORDER BY n
