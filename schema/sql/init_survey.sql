-- A name in a schema that one may not use is an error for to_regclass().
SELECT pg_catalog.pg_is_in_recovery(), pg_catalog.pg_backend_pid(),
pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE'),
current_user::pg_catalog.text, pg_catalog.pg_get_userbyid(n.nspowner)::pg_catalog.text,
coalesce(pg_catalog.pg_has_role(n.nspowner, 'MEMBER'), false), EXISTS (SELECT
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace m ON m.oid OPERATOR(pg_catalog.=)
c.relnamespace WHERE m.nspname OPERATOR(pg_catalog.=) 'rowfs'
AND c.relname OPERATOR(pg_catalog.=) 'changes'
AND pg_catalog.has_schema_privilege(m.oid, 'USAGE')
AND pg_catalog.has_table_privilege(c.oid, 'SELECT')), EXISTS (SELECT
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace m ON m.oid OPERATOR(pg_catalog.=)
c.relnamespace WHERE m.nspname OPERATOR(pg_catalog.=) 'sqitch'
AND c.relname OPERATOR(pg_catalog.=) 'changes'
AND pg_catalog.has_schema_privilege(m.oid, 'USAGE')
AND pg_catalog.has_table_privilege(c.oid, 'SELECT')),
(SELECT pg_catalog.string_agg(c.relname::pg_catalog.text, ', ') FROM (SELECT c.relname
FROM pg_catalog.pg_class c WHERE c.relnamespace OPERATOR(pg_catalog.=) n.oid
AND c.relkind OPERATOR(pg_catalog.<>) 'i'
AND c.relname OPERATOR(pg_catalog.<>) ALL (ARRAY['changes', 'dependencies', 'events', 'projects',
'releases', 'tags']::pg_catalog.name[]) ORDER BY c.oid LIMIT 3) c) FROM (SELECT) one
LEFT JOIN pg_catalog.pg_namespace n ON n.nspname OPERATOR(pg_catalog.=) 'rowfs'
