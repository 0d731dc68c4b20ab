-- What the catalog knows of the relations and functions that a layout names, one row a name:
-- name, relation (json or NULL), functions (json array or NULL).
-- $1: JSON array of names as the layout writes them ("users", "tokens.tokens"); $2: table prefix ('' for none).
WITH RECURSIVE wanted AS (
    SELECT w.name,
           CASE WHEN pg_catalog.strpos(w.name, '.') > 0
                THEN pg_catalog.quote_ident(pg_catalog.split_part(w.name, '.', 1)) || '.'
                     || pg_catalog.quote_ident($2::text || pg_catalog.substr(w.name, pg_catalog.strpos(w.name, '.') + 1))
                ELSE pg_catalog.quote_ident($2::text || w.name) END AS relation,
           CASE WHEN pg_catalog.strpos(w.name, '.') > 0 THEN pg_catalog.split_part(w.name, '.', 1) END AS function_schema,
           CASE WHEN pg_catalog.strpos(w.name, '.') > 0 THEN pg_catalog.substr(w.name, pg_catalog.strpos(w.name, '.') + 1)
                ELSE w.name END AS function_name,
           -- what is in a schema that one may not use is not there; to_regclass() would raise an error
           EXISTS (SELECT 1 FROM pg_catalog.pg_namespace n
                    WHERE pg_catalog.strpos(w.name, '.') > 0 AND n.nspname = pg_catalog.split_part(w.name, '.', 1)
                      AND NOT pg_catalog.has_schema_privilege(n.oid, 'USAGE')) AS hidden
      FROM pg_catalog.json_array_elements_text($1::json) AS w(name)
), types AS (
    -- domains down to their base type
    SELECT t.oid AS type, t.oid AS base FROM pg_catalog.pg_type t WHERE t.typtype <> 'd'
    UNION ALL
    SELECT d.oid, b.base FROM pg_catalog.pg_type d JOIN types b ON d.typbasetype = b.type WHERE d.typtype = 'd'
)
SELECT w.name,
       (SELECT pg_catalog.json_build_object(
                   'oid', c.oid::bigint, 'schema', n.nspname, 'name', c.relname, 'kind', c.relkind,
                   'full', pg_catalog.format('%I.%I', n.nspname, c.relname),
                   'readable', pg_catalog.has_table_privilege(c.oid, 'SELECT'),
                   -- xmin, ctid and tableoid: a role with rights on some columns has none on these
                   'versions', c.relkind IN ('r', 'p', 'm') AND pg_catalog.has_column_privilege(c.oid, -1::int2, 'SELECT')
                       AND pg_catalog.has_column_privilege(c.oid, -2::int2, 'SELECT')
                       AND pg_catalog.has_column_privilege(c.oid, -6::int2, 'SELECT'),
                   'deletable', can.what & 16 <> 0 AND pg_catalog.has_table_privilege(c.oid, 'DELETE'),
                   -- COPY knows neither rules nor row security
                   'copy', c.relkind IN ('r', 'p') AND NOT c.relrowsecurity
                       AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_rewrite r
                                        WHERE r.ev_class = c.oid AND r.ev_type = '3'),
                   -- names of rules, but for a view's own
                   'rules', coalesce((SELECT pg_catalog.json_agg(r.rulename ORDER BY r.rulename) FROM pg_catalog.pg_rewrite r
                                       WHERE r.ev_class = c.oid AND r.ev_type <> '1'), '[]'),
                   -- BEFORE INSERT triggers for each row (tgtype: 1 row, 2 before, 4 insert)
                   'rewrites', EXISTS (SELECT 1 FROM pg_catalog.pg_trigger g
                                        WHERE g.tgtype & 7::int2 = 7 AND NOT g.tgisinternal AND g.tgenabled <> 'D'
                                          AND (g.tgrelid = c.oid OR g.tgrelid OPERATOR(pg_catalog.=) ANY (
                                               SELECT p.relid FROM pg_catalog.pg_partition_tree(c.oid) p))),
                   -- tables, no partitions, that have its columns and rows of their own
                   'referenced', EXISTS (SELECT 1 FROM pg_catalog.pg_constraint f WHERE f.confrelid = c.oid AND f.contype = 'f'),
                   'inherited', c.relkind = 'r' AND EXISTS (SELECT 1 FROM pg_catalog.pg_inherits h WHERE h.inhparent = c.oid),
                   'columns', coalesce((
                       SELECT pg_catalog.json_agg(pg_catalog.json_build_object(
                                  'name', a.attname,
                                  'type', pg_catalog.format_type(a.atttypid, -1),
                                  'base', pg_catalog.format_type(y.base, -1),
                                  -- of arrays, enums, ranges and records they are PostgreSQL's; of other types, those by which
                                  -- an index orders
                                  'operators', CASE WHEN b.typnamespace OPERATOR(pg_catalog.=) 'pg_catalog'::regnamespace
                                                      OR b.typtype <> 'b' OR b.typcategory = 'A' THEN 'pg_catalog' ELSE (
                                      SELECT n.nspname FROM pg_catalog.pg_opclass o
                                        JOIN pg_catalog.pg_am m ON m.oid = o.opcmethod AND m.amname = 'btree'
                                        JOIN pg_catalog.pg_amop s ON s.amopfamily = o.opcfamily AND s.amopstrategy = 3
                                         AND s.amoplefttype = o.opcintype AND s.amoprighttype = o.opcintype
                                        JOIN pg_catalog.pg_operator p ON p.oid = s.amopopr AND p.oprname = '='
                                        JOIN pg_catalog.pg_namespace n ON n.oid = p.oprnamespace
                                       WHERE o.opcdefault AND o.opcintype = b.oid) END,
                                  'category', b.typcategory,
                                  'kind', b.typtype,
                                  'modifier', a.atttypmod,
                                  'not_null', a.attnotnull,
                                  'default', a.atthasdef OR a.attidentity <> '',
                                  'generated', a.attgenerated <> '',
                                  'identity', a.attidentity = 'a',
                                  'select', pg_catalog.has_column_privilege(c.oid, a.attnum, 'SELECT'),
                                  'insert', can.what & 8 <> 0 AND pg_catalog.has_column_privilege(c.oid, a.attnum, 'INSERT'),
                                  'update', can.what & 4 <> 0 AND pg_catalog.has_column_privilege(c.oid, a.attnum, 'UPDATE')
                                      -- an expression of a view that the server changes rows through
                                      AND (c.relkind <> 'v' OR pg_catalog.pg_column_is_updatable(c.oid, a.attnum, true)
                                           OR can.what & 16 = 0)) ORDER BY a.attnum)
                         FROM pg_catalog.pg_attribute a
                         JOIN types y ON y.type = a.atttypid
                         JOIN pg_catalog.pg_type b ON b.oid = y.base
                        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), '[]'),
                   'keys', coalesce((
                       SELECT pg_catalog.json_agg(pg_catalog.json_build_object(
                                  'primary', i.indisprimary,
                                  'columns', (SELECT pg_catalog.json_agg(a.attname ORDER BY k.ord)
                                                FROM pg_catalog.unnest(i.indkey[0:i.indnkeyatts - 1])
                                                     WITH ORDINALITY AS k(attnum, ord)
                                                JOIN pg_catalog.pg_attribute a
                                                  ON a.attrelid = i.indrelid AND a.attnum = k.attnum))
                                  ORDER BY i.indisprimary DESC, i.indexrelid)
                         FROM pg_catalog.pg_index i
                        WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indimmediate
                          AND i.indpred IS NULL AND i.indexprs IS NULL), '[]'),
                   -- what is checked row by row: all columns that a unique or exclusion index looks at, and those of them
                   -- that it compares
                   'checks', coalesce((
                       SELECT pg_catalog.json_agg(pg_catalog.json_build_object(
                                  'nulls', coalesce((pg_catalog.to_json(i)->>'indnullsnotdistinct')::boolean, false),
                                  'columns', x.columns, 'compared', x.compared) ORDER BY i.indexrelid)
                         FROM pg_catalog.pg_index i, LATERAL (
                              SELECT pg_catalog.json_agg(y.attname ORDER BY y.attnum) AS columns,
                                     coalesce(pg_catalog.json_agg(y.attname ORDER BY y.attnum) FILTER (WHERE y.is_key OR y.is_hidden),
                                              '[]') AS compared
                                FROM (SELECT a.attname, a.attnum, a.attnum OPERATOR(pg_catalog.=) ANY (k.keys) AS is_key,
                                             0 OPERATOR(pg_catalog.=) ANY (k.keys) AS is_hidden
                                        FROM pg_catalog.pg_attribute a, (SELECT i.indkey[0:i.indnkeyatts - 1]::int2[]) AS k(keys)
                                       WHERE a.attrelid = i.indrelid AND a.attnum > 0
                                         AND (a.attnum OPERATOR(pg_catalog.=) ANY (k.keys) OR EXISTS (
                                              SELECT 1 FROM pg_catalog.pg_depend d
                                               WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::regclass AND d.objid = i.indexrelid
                                                 AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::regclass
                                                 AND d.refobjid = i.indrelid AND d.refobjsubid = a.attnum))) y) x
                        WHERE i.indrelid = c.oid AND (i.indisunique OR i.indisexclusion) AND i.indisvalid AND i.indimmediate), '[]'),
                   'parents', coalesce((
                       SELECT pg_catalog.json_agg(pg_catalog.json_build_object(
                                  'relation', f.confrelid::bigint,
                                  'columns', (SELECT pg_catalog.json_agg(a.attname ORDER BY k.ord)
                                                FROM pg_catalog.unnest(f.conkey) WITH ORDINALITY AS k(attnum, ord)
                                                JOIN pg_catalog.pg_attribute a
                                                  ON a.attrelid = f.conrelid AND a.attnum = k.attnum),
                                  'references', (SELECT pg_catalog.json_agg(a.attname ORDER BY k.ord)
                                                   FROM pg_catalog.unnest(f.confkey) WITH ORDINALITY AS k(attnum, ord)
                                                   JOIN pg_catalog.pg_attribute a
                                                     ON a.attrelid = f.confrelid AND a.attnum = k.attnum))
                                  ORDER BY f.oid)
                         FROM pg_catalog.pg_constraint f
                        WHERE f.conrelid = c.oid AND f.contype = 'f' AND f.conparentid = 0::oid), '[]'))
          FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace,
               -- what PostgreSQL can do to its rows, whoever asks: bits of INSERT (8), UPDATE (4), DELETE (16)
               LATERAL (SELECT CASE WHEN c.relkind IN ('r', 'p') THEN 28
                                    ELSE pg_catalog.pg_relation_is_updatable(c.oid, true) END AS what OFFSET 0) can
         WHERE c.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass(CASE WHEN NOT w.hidden THEN w.relation END)
           AND c.relkind IN ('r', 'p', 'v', 'm', 'f')) AS relation,
       (SELECT pg_catalog.json_agg(pg_catalog.json_build_object(
                   'schema', n.nspname, 'name', p.proname, 'defaults', p.pronargdefaults,
                   'arguments', coalesce((
                       SELECT pg_catalog.json_agg(pg_catalog.json_build_object('name', coalesce(p.proargnames[k.ord], ''),
                                                         'type', pg_catalog.format_type(k.type, -1)) ORDER BY k.ord)
                         FROM pg_catalog.unnest(p.proargtypes::oid[]) WITH ORDINALITY AS k(type, ord)), '[]')))
          FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
         WHERE p.proname = w.function_name AND p.prokind = 'f' AND NOT w.hidden
           AND CASE WHEN w.function_schema IS NULL THEN pg_catalog.pg_function_is_visible(p.oid)
                    ELSE n.nspname = w.function_schema END) AS functions
  FROM wanted w
