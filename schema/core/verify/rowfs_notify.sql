-- Verify rowfs_core:rowfs_notify on pg

BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp;

SELECT id, relation, keys, used FROM rowfs.notice WHERE false;
SELECT has_function_privilege(f, 'execute') FROM unnest(ARRAY['rowfs.tell(regclass)',
	'rowfs.untell(regclass)', 'rowfs.notify_all(regclass)', 'rowfs.sources(regclass)']) f;

ROLLBACK;
