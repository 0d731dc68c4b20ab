-- A name in a schema that one may not use is an error for to_regclass().
SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_class c
ON c.relnamespace OPERATOR(pg_catalog.=) n.oid JOIN pg_catalog.pg_proc p
ON p.pronamespace OPERATOR(pg_catalog.=) n.oid WHERE n.nspname OPERATOR(pg_catalog.=) 'rowfs'
AND c.relname OPERATOR(pg_catalog.=) 'object' AND p.proname OPERATOR(pg_catalog.=) 'differences'
AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')
AND pg_catalog.has_table_privilege(c.oid, 'SELECT')
AND pg_catalog.has_function_privilege(p.oid, 'EXECUTE'))
