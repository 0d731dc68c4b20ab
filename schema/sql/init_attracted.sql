-- A role called rowfs has the schema rowfs first on its search path ("$user"): what it makes
-- without naming a schema would go there.
SELECT pg_catalog.format('ALTER ROLE rowfs IN DATABASE %I SET search_path = public',
pg_catalog.current_database()) FROM pg_catalog.pg_roles r WHERE r.rolname
OPERATOR(pg_catalog.=) 'rowfs' AND NOT EXISTS (SELECT FROM pg_catalog.pg_db_role_setting s,
pg_catalog.unnest(s.setconfig) c WHERE s.setrole IN (r.oid, 0) AND c LIKE 'search_path=%'
AND c NOT LIKE '%$user%' AND s.setdatabase IN (0, (SELECT d.oid FROM pg_catalog.pg_database
d WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database())))
