SELECT i.id FROM pg_catalog.unnest($2::bigint[]) i(id) LEFT JOIN rowfs.slice x USING (id)
LEFT JOIN (SELECT t.relation,
rowfs.rows_arrive_as_sent(pg_catalog.to_regclass(t.relation)) AS as_sent,
rowfs.can_count(pg_catalog.to_regclass(t.relation)) AS counts FROM (SELECT DISTINCT relation FROM
rowfs.slice WHERE id = ANY ($2::bigint[])) t) r USING (relation) WHERE
(i.id = ANY ($1::bigint[]) AND (x.id IS NULL OR NOT r.as_sent)) OR NOT r.counts
