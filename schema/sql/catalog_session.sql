SELECT pg_catalog.current_database(), current_user,
EXISTS (SELECT 1 FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'rowfs'
AND c.relname = 'applied' AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')
AND pg_catalog.has_table_privilege(c.oid, 'INSERT')),
EXISTS (SELECT 1 FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'rowfs'
AND c.relname = 'stream' AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')
AND pg_catalog.has_table_privilege(c.oid, 'INSERT, UPDATE')),
EXISTS (SELECT 1 FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'rowfs' AND c.relname = 'file_rows' AND a.attname = 'xids'
AND NOT a.attisdropped),
EXISTS (SELECT 1 FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'rowfs' AND c.relname = 'file' AND a.attname = 'relation'
AND NOT a.attisdropped),
pg_catalog.getdatabaseencoding() NOT IN ('UTF8', 'SQL_ASCII'),
pg_catalog.current_setting('transaction_read_only') = 'on'
