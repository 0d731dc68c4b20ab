-- What the catalog knows of the relations and functions that a layout names, one row a name:
-- name, relation (json or NULL), functions (json array or NULL).
-- $1: JSON array of names as the layout writes them ("users", "tokens.tokens"); $2: table prefix ('' for none).
WITH RECURSIVE wanted AS (
    SELECT w.name,
           CASE WHEN strpos(w.name, '.') > 0
                THEN quote_ident(split_part(w.name, '.', 1)) || '.'
                     || quote_ident($2::text || substr(w.name, strpos(w.name, '.') + 1))
                ELSE quote_ident($2::text || w.name) END AS relation,
           CASE WHEN strpos(w.name, '.') > 0 THEN split_part(w.name, '.', 1) END AS function_schema,
           CASE WHEN strpos(w.name, '.') > 0 THEN substr(w.name, strpos(w.name, '.') + 1)
                ELSE w.name END AS function_name
      FROM json_array_elements_text($1::json) AS w(name)
), types AS (
    -- domains down to their base type
    SELECT t.oid AS type, t.oid AS base FROM pg_type t WHERE t.typtype <> 'd'
    UNION ALL
    SELECT d.oid, b.base FROM pg_type d JOIN types b ON d.typbasetype = b.type WHERE d.typtype = 'd'
)
SELECT w.name,
       (SELECT json_build_object(
                   'oid', c.oid::bigint, 'schema', n.nspname, 'name', c.relname, 'kind', c.relkind,
                   'readable', has_table_privilege(c.oid, 'SELECT'),
                   -- COPY knows neither rules nor row security
                   'copy', c.relkind IN ('r', 'p') AND NOT c.relrowsecurity
                       AND NOT EXISTS (SELECT 1 FROM pg_rewrite r
                                        WHERE r.ev_class = c.oid AND r.ev_type = '3'),
                   -- BEFORE INSERT triggers for each row (tgtype: 1 row, 2 before, 4 insert)
                   'rewrites', EXISTS (SELECT 1 FROM pg_trigger g
                                        WHERE g.tgtype & 7 = 7 AND NOT g.tgisinternal AND g.tgenabled <> 'D'
                                          AND (g.tgrelid = c.oid OR g.tgrelid IN (
                                               SELECT p.relid FROM pg_partition_tree(c.oid) p))),
                   -- tables, no partitions, that have its columns and rows of their own
                   'referenced', EXISTS (SELECT 1 FROM pg_constraint f WHERE f.confrelid = c.oid AND f.contype = 'f'),
                   'inherited', c.relkind = 'r' AND EXISTS (SELECT 1 FROM pg_inherits h WHERE h.inhparent = c.oid),
                   'columns', coalesce((
                       SELECT json_agg(json_build_object(
                                  'name', a.attname,
                                  'type', format_type(a.atttypid, -1),
                                  'base', format_type(y.base, -1),
                                  'category', b.typcategory,
                                  'kind', b.typtype,
                                  'modifier', a.atttypmod,
                                  'not_null', a.attnotnull,
                                  'default', a.atthasdef OR a.attidentity <> '',
                                  'generated', a.attgenerated <> '',
                                  'identity', a.attidentity = 'a') ORDER BY a.attnum)
                         FROM pg_attribute a
                         JOIN types y ON y.type = a.atttypid
                         JOIN pg_type b ON b.oid = y.base
                        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), '[]'),
                   'keys', coalesce((
                       SELECT json_agg(json_build_object(
                                  'primary', i.indisprimary,
                                  'columns', (SELECT json_agg(a.attname ORDER BY k.ord)
                                                FROM unnest(i.indkey[0:i.indnkeyatts - 1])
                                                     WITH ORDINALITY AS k(attnum, ord)
                                                JOIN pg_attribute a
                                                  ON a.attrelid = i.indrelid AND a.attnum = k.attnum))
                                  ORDER BY i.indisprimary DESC, i.indexrelid)
                         FROM pg_index i
                        WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indimmediate
                          AND i.indpred IS NULL AND i.indexprs IS NULL), '[]'),
                   'parents', coalesce((
                       SELECT json_agg(json_build_object(
                                  'relation', f.confrelid::bigint,
                                  'columns', (SELECT json_agg(a.attname ORDER BY k.ord)
                                                FROM unnest(f.conkey) WITH ORDINALITY AS k(attnum, ord)
                                                JOIN pg_attribute a
                                                  ON a.attrelid = f.conrelid AND a.attnum = k.attnum),
                                  'references', (SELECT json_agg(a.attname ORDER BY k.ord)
                                                   FROM unnest(f.confkey) WITH ORDINALITY AS k(attnum, ord)
                                                   JOIN pg_attribute a
                                                     ON a.attrelid = f.confrelid AND a.attnum = k.attnum))
                                  ORDER BY f.oid)
                         FROM pg_constraint f
                        WHERE f.conrelid = c.oid AND f.contype = 'f' AND f.conparentid = 0), '[]'))
          FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE c.oid = to_regclass(w.relation) AND c.relkind IN ('r', 'p', 'v', 'm', 'f')) AS relation,
       (SELECT json_agg(json_build_object(
                   'schema', n.nspname, 'name', p.proname, 'defaults', p.pronargdefaults,
                   'arguments', coalesce((
                       SELECT json_agg(json_build_object('name', coalesce(p.proargnames[k.ord], ''),
                                                         'type', format_type(k.type, -1)) ORDER BY k.ord)
                         FROM unnest(p.proargtypes::oid[]) WITH ORDINALITY AS k(type, ord)), '[]')))
          FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
         WHERE p.proname = w.function_name AND p.prokind = 'f'
           AND CASE WHEN w.function_schema IS NULL THEN pg_function_is_visible(p.oid)
                    ELSE n.nspname = w.function_schema END) AS functions
  FROM wanted w
