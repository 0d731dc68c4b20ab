SELECT coalesce(pg_catalog.bool_and(pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND
pg_catalog.has_table_privilege(c.oid, 'SELECT')), false) AND
pg_catalog.count(*) OPERATOR(pg_catalog.=) 2
FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_class c
ON c.relnamespace OPERATOR(pg_catalog.=) n.oid
WHERE n.nspname OPERATOR(pg_catalog.=) 'rowfs'
AND c.relname OPERATOR(pg_catalog.=) ANY ('{notice,secret}'::pg_catalog.name[])
