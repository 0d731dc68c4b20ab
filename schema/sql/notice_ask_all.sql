WITH d AS (SELECT * FROM unnest($1::text[], $2::bigint[]) d(rel, id))
SELECT t.rel, rowfs.tells(t.rel::regclass) AND NOT EXISTS (SELECT FROM d
WHERE d.rel = t.rel AND NOT EXISTS (SELECT FROM rowfs.notice n WHERE n.id = d.id
AND pg_catalog.to_regclass(n.relation) OPERATOR(pg_catalog.=) t.rel::regclass)) FROM (SELECT
DISTINCT rel FROM d) t
