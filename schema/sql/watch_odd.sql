SELECT x.id FROM rowfs.slice x JOIN (SELECT t.relation,
rowfs.rows_arrive_as_sent(pg_catalog.to_regclass(t.relation)) AS as_sent,
rowfs.can_count(pg_catalog.to_regclass(t.relation)) AS counts FROM (SELECT DISTINCT relation FROM
rowfs.slice WHERE id = ANY ($2::bigint[])) t) r USING (relation) WHERE
(x.id = ANY ($1::bigint[]) AND NOT r.as_sent) OR (x.id = ANY ($2::bigint[]) AND NOT
r.counts)
