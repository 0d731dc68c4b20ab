INSERT INTO rowfs.doubt (slice, why) SELECT id, 'rowfs check found that it differs from the rows'
FROM pg_catalog.unnest($1::bigint[]) s(id)
