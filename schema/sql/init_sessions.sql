-- A mount that goes by time holds no lock: its sessions have rowfs's name. Those of other roles
-- show no name to who may not see it.
SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity a WHERE a.datname
OPERATOR(pg_catalog.=) pg_catalog.current_database() AND a.application_name
OPERATOR(pg_catalog.=) 'rowfs' AND a.pid OPERATOR(pg_catalog.<>)
pg_catalog.pg_backend_pid()
