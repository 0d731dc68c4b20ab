-- A name in a schema that one may not use is an error for to_regclass().
SELECT pg_catalog.bool_or(c.relname OPERATOR(pg_catalog.=) 'applied'),
pg_catalog.bool_or(c.relname OPERATOR(pg_catalog.=) 'changes'),
pg_catalog.bool_or(c.relname OPERATOR(pg_catalog.=) 'changes' AND
pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND
pg_catalog.has_table_privilege(c.oid, 'SELECT'))
FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_class c
ON c.relnamespace OPERATOR(pg_catalog.=) n.oid WHERE n.nspname OPERATOR(pg_catalog.=) 'rowfs'
