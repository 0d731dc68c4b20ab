SELECT pg_catalog.format('ALTER ROLE rowfs IN DATABASE %I RESET search_path',
pg_catalog.current_database()) FROM pg_catalog.pg_roles r, pg_catalog.pg_db_role_setting s
WHERE r.rolname OPERATOR(pg_catalog.=) 'rowfs' AND s.setrole OPERATOR(pg_catalog.=) r.oid
AND s.setdatabase OPERATOR(pg_catalog.=) (SELECT d.oid FROM pg_catalog.pg_database d WHERE
d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database())
AND 'search_path=public' OPERATOR(pg_catalog.=) ANY (s.setconfig)
