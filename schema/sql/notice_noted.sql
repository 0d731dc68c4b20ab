SELECT n.relation, pg_catalog.min(d.at)::text, pg_catalog.min(d.why) FROM rowfs.doubt d
JOIN rowfs.notice n ON n.id = d.slice GROUP BY n.relation ORDER BY n.relation
