INSERT INTO rowfs.doubt (slice, why) SELECT x.id, CASE WHEN
rowfs.can_count(pg_catalog.to_regclass(x.relation)) THEN
'the table has got a trigger, rule or policy that may change its rows'
ELSE 'the owner of its triggers has lost a right in the schema rowfs' END
FROM rowfs.slice x WHERE x.id = ANY ($1::bigint[])
AND NOT EXISTS (SELECT FROM rowfs.doubt d WHERE d.slice = x.id)
