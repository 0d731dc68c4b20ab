-- Verify rowfs_core:rowfs_definitions on pg

BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp;

SELECT id, relation, csv, columns, keys, units, formats, built, used FROM rowfs.slice WHERE false;
SELECT id, relation, keys -> 0 ->> 'column', used FROM rowfs.notice WHERE false;
SELECT has_function_privilege(f, 'execute') FROM unnest(ARRAY['rowfs.tell(regclass, jsonb)', 'rowfs.allow(regrole)',
	'rowfs.expressions_of(rowfs.slice)', 'rowfs.notice_text(regclass, jsonb)']) f;
SELECT 1 / (to_regprocedure('rowfs.tell(regclass, bigint[], jsonb)') IS NULL)::int;

ROLLBACK;
