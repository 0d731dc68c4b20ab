SELECT o.pack, pg_catalog.count(*) FROM (SELECT DISTINCT pack FROM rowfs.object) o,
LATERAL rowfs.differences(o.pack) GROUP BY o.pack ORDER BY o.pack
