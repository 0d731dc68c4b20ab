SELECT s.id, rowfs.is_true(s.id) AND w.watched, w.as_sent, p.writes,
w.watched AND EXISTS (SELECT FROM rowfs.slice x WHERE x.id = s.id),
EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhrelid OPERATOR(pg_catalog.=) $1::regclass),
w.hides
FROM pg_catalog.unnest($2::bigint[]) s(id), (SELECT rowfs.is_watched($1::regclass) AS watched,
rowfs.rows_arrive_as_sent($1::regclass) AS as_sent,
pg_catalog.row_security_active($1::regclass::pg_catalog.oid) AS hides) w, (SELECT
pg_catalog.has_table_privilege('rowfs.summary', 'INSERT') AND
pg_catalog.has_table_privilege('rowfs.summary',
'UPDATE') AND pg_catalog.has_table_privilege('rowfs.summary', 'SELECT') AND
pg_catalog.has_table_privilege('rowfs.secret', 'SELECT') AS writes) p
WHERE pg_catalog.has_table_privilege('rowfs.summary', 'SELECT') AND
pg_catalog.has_table_privilege('rowfs.delta', 'SELECT') AND
pg_catalog.has_table_privilege('rowfs.slice',
'SELECT') AND pg_catalog.has_table_privilege('rowfs.doubt', 'SELECT')
