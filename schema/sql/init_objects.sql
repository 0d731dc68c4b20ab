SELECT pg_catalog.count(*) FILTER (WHERE made), pg_catalog.count(*) FILTER (WHERE NOT made
AND differs IS NULL) FROM rowfs.object WHERE pack OPERATOR(pg_catalog.=) $1::text
