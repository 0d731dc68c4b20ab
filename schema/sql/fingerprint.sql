-- One number of all that the catalog query, notices, summaries and rights depend on: it changes when any of that does. It reads rows of
-- the catalog alone, so no lock of a table keeps it waiting.
-- $1: JSON array of names as the layout writes them; $2: table prefix: as of catalog.sql.
WITH RECURSIVE wanted AS (
    SELECT w.name,
           CASE WHEN pg_catalog.strpos(w.name, '.') > 0
                THEN pg_catalog.quote_ident(pg_catalog.split_part(w.name, '.', 1)) || '.'
                     || pg_catalog.quote_ident($2::text || pg_catalog.substr(w.name, pg_catalog.strpos(w.name, '.') + 1))
                ELSE pg_catalog.quote_ident($2::text || w.name) END AS relation,
           CASE WHEN pg_catalog.strpos(w.name, '.') > 0 THEN pg_catalog.split_part(w.name, '.', 1) END AS schema,
           CASE WHEN pg_catalog.strpos(w.name, '.') > 0 THEN pg_catalog.substr(w.name, pg_catalog.strpos(w.name, '.') + 1)
                ELSE w.name END AS function_name
      FROM pg_catalog.json_array_elements_text($1::json) AS w(name)
), named AS (
    SELECT w.name, pg_catalog.to_regclass(w.relation)::oid AS oid
      FROM wanted w
     WHERE NOT EXISTS (SELECT 1 FROM pg_catalog.pg_namespace n
                        WHERE n.nspname = w.schema AND NOT pg_catalog.has_schema_privilege(n.oid, 'USAGE'))
), relations AS (
    -- those, what stands below them (partitions, children), and what views are made of
    SELECT n.oid FROM named n WHERE n.oid IS NOT NULL
    UNION
    SELECT m.oid FROM relations r CROSS JOIN LATERAL (
        SELECT h.inhrelid AS oid FROM pg_catalog.pg_inherits h WHERE h.inhparent = r.oid
        UNION ALL
        SELECT d.refobjid FROM pg_catalog.pg_rewrite w
          JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.objid = w.oid
                                     AND d.refclassid = 'pg_catalog.pg_class'::regclass
         WHERE w.ev_class = r.oid) m
), roles AS (
    SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolname = current_user
    UNION
    SELECT m.roleid FROM roles r JOIN pg_catalog.pg_auth_members m ON m.member = r.oid
), columns AS (
    -- a partition has its parent's
    SELECT a.attrelid, a.attnum, a.xmin, a.atttypid
      FROM relations r JOIN pg_catalog.pg_class c ON c.oid = r.oid
      JOIN pg_catalog.pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0
     WHERE NOT c.relispartition OR EXISTS (SELECT 1 FROM named n WHERE n.oid = r.oid)
), types AS (
    -- and what a domain or an array is made of
    SELECT DISTINCT c.atttypid AS oid FROM columns c WHERE c.atttypid > 0::oid
    UNION
    SELECT m.oid FROM types t JOIN pg_catalog.pg_type y ON y.oid = t.oid
     CROSS JOIN LATERAL (VALUES (y.typbasetype), (y.typelem)) m(oid) WHERE m.oid > 0::oid
), parts AS (
    SELECT 'name ' || n.name || ' ' || coalesce(n.oid, 0::oid) AS part FROM named n
    UNION ALL
    SELECT pg_catalog.concat_ws(' ', 'relation', c.oid, c.relname, c.relnamespace, c.relkind, c.relowner, c.relrowsecurity,
                                c.relforcerowsecurity, c.relispartition, c.relacl, c.reloptions)
      FROM relations r JOIN pg_catalog.pg_class c ON c.oid = r.oid
    UNION ALL
    SELECT pg_catalog.concat_ws(' ', 'column', c.attrelid, c.attnum, c.xmin) FROM columns c
    UNION ALL
    SELECT pg_catalog.concat_ws(' ', 'key', i.indexrelid, i.indrelid, i.indkey, i.indnkeyatts, i.indisprimary, i.indisvalid,
                                i.indimmediate)
      FROM relations r JOIN pg_catalog.pg_index i ON i.indrelid = r.oid AND i.indisunique
    UNION ALL
    SELECT pg_catalog.concat_ws(' ', 'constraint', k.oid, k.xmin)
      FROM relations r JOIN pg_catalog.pg_constraint k ON k.conrelid = r.oid
    UNION ALL
    SELECT pg_catalog.concat_ws(' ', 'trigger', g.oid, g.xmin, p.xmin)
      FROM relations r JOIN pg_catalog.pg_trigger g ON g.tgrelid = r.oid JOIN pg_catalog.pg_proc p ON p.oid = g.tgfoid
    UNION ALL
    SELECT pg_catalog.concat_ws(' ', 'policy', y.oid, y.xmin)
      FROM relations r JOIN pg_catalog.pg_policy y ON y.polrelid = r.oid
    UNION ALL
    SELECT pg_catalog.concat_ws(' ', 'rule', w.oid, w.xmin)
      FROM relations r JOIN pg_catalog.pg_rewrite w ON w.ev_class = r.oid
    UNION ALL
    SELECT pg_catalog.concat_ws(' ', 'part', h.inhparent, h.inhrelid, h.xmin)
      FROM relations r JOIN pg_catalog.pg_inherits h ON h.inhparent = r.oid
    UNION ALL
    SELECT pg_catalog.concat_ws(' ', 'type', y.oid, y.xmin) FROM types t JOIN pg_catalog.pg_type y ON y.oid = t.oid
    UNION ALL
    SELECT pg_catalog.concat_ws(' ', 'label', e.oid, e.xmin) FROM types t JOIN pg_catalog.pg_enum e ON e.enumtypid = t.oid
    UNION ALL
    SELECT pg_catalog.concat_ws(' ', 'check', k.oid, k.xmin) FROM types t JOIN pg_catalog.pg_constraint k ON k.contypid = t.oid
    UNION ALL
    SELECT pg_catalog.concat_ws(' ', 'member', a.attrelid, a.attnum, a.xmin)
      FROM types t JOIN pg_catalog.pg_type y ON y.oid = t.oid AND y.typtype = 'c'
      JOIN pg_catalog.pg_attribute a ON a.attrelid = y.typrelid
    UNION ALL
    SELECT pg_catalog.concat_ws(' ', 'function', p.oid, p.xmin)
      FROM wanted w JOIN pg_catalog.pg_proc p ON p.proname = w.function_name
    UNION ALL
    -- functions that a view calls
    SELECT pg_catalog.concat_ws(' ', 'called', p.oid, p.xmin)
      FROM relations r JOIN pg_catalog.pg_rewrite w ON w.ev_class = r.oid
      JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.objid = w.oid
                                 AND d.refclassid = 'pg_catalog.pg_proc'::regclass
      JOIN pg_catalog.pg_proc p ON p.oid = d.refobjid
    UNION ALL
    -- what the schema rowfs has
    SELECT pg_catalog.concat_ws(' ', 'rowfs', d.classid, d.objid, p.xmin, c.relname, c.relacl)
      FROM pg_catalog.pg_namespace n
      JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_catalog.pg_namespace'::regclass AND d.refobjid = n.oid
      LEFT JOIN pg_catalog.pg_proc p ON d.classid = 'pg_catalog.pg_proc'::regclass AND p.oid = d.objid
      LEFT JOIN pg_catalog.pg_class c ON d.classid = 'pg_catalog.pg_class'::regclass AND c.oid = d.objid
     WHERE n.nspname = 'rowfs' AND d.classid IN ('pg_catalog.pg_proc'::regclass, 'pg_catalog.pg_class'::regclass)
    UNION ALL
    SELECT pg_catalog.concat_ws(' ', 'schema', n.oid, n.nspname, n.nspowner, n.nspacl)
      FROM pg_catalog.pg_namespace n
     WHERE n.nspname = 'rowfs' OR n.nspname OPERATOR(pg_catalog.=) ANY (pg_catalog.current_schemas(false))
        OR EXISTS (SELECT 1 FROM wanted w WHERE w.schema = n.nspname)
    UNION ALL
    SELECT pg_catalog.concat_ws(' ', 'path', pg_catalog.current_schemas(false))
    UNION ALL
    SELECT pg_catalog.concat_ws(' ', 'role', r.oid, o.rolname, o.rolsuper, o.rolbypassrls, o.rolinherit)
      FROM roles r JOIN pg_catalog.pg_roles o ON o.oid = r.oid
)
SELECT pg_catalog.count(*) || ' ' || pg_catalog.sum(pg_catalog.hashtextextended(p.part, 0)) FROM parts p
