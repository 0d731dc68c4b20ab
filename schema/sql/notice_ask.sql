SELECT rowfs.tells($1::regclass) AND NOT EXISTS (SELECT FROM pg_catalog.unnest($2::bigint[]) i
WHERE NOT EXISTS (SELECT FROM rowfs.notice n WHERE n.id = i
AND pg_catalog.to_regclass(n.relation) OPERATOR(pg_catalog.=) $1::regclass)),
EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhrelid OPERATOR(pg_catalog.=) $1::regclass)
