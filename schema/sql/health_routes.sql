SELECT w.name, CASE WHEN r.rel IS NULL THEN 'is not there' ELSE 'may not be read by this role' END
FROM unnest($1::text[], $2::text[], $3::text[]) w(name, relation, rights),
LATERAL (SELECT CASE WHEN pg_catalog.has_schema_privilege(pg_catalog.to_regnamespace(
pg_catalog.quote_ident((pg_catalog.parse_ident(w.relation))[1]))::pg_catalog.oid, 'USAGE')
THEN pg_catalog.to_regclass(w.relation)::pg_catalog.oid END AS rel OFFSET 0) r
WHERE r.rel IS NULL OR NOT pg_catalog.has_any_column_privilege(r.rel, w.rights)
