SELECT type, identity, pg_catalog.array_to_string(differs, '; '), promise FROM rowfs.object
WHERE pack OPERATOR(pg_catalog.=) $1::text
AND pg_catalog.cardinality(differs) OPERATOR(pg_catalog.>) 0 ORDER BY n
