-- Verify rowfs_core:rowfs_streams on pg

BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp;

SELECT stream, off, touched FROM rowfs.stream WHERE false;
SELECT id, relation, built, used FROM rowfs.slice WHERE false;
SELECT slice, k1, k2, k3, k4, rows, bytes, changed FROM rowfs.summary WHERE false;
SELECT slice, k1, k2, k3, k4, rows, bytes, changed FROM rowfs.delta WHERE false;
SELECT slice, why, at FROM rowfs.doubt WHERE false;
SELECT has_function_privilege(f, 'execute') FROM unnest(ARRAY['rowfs.watch(regclass)', 'rowfs.unwatch(regclass)',
	'rowfs.fold()', 'rowfs.count_in(regclass)', 'rowfs.count_out(regclass)']) f;

ROLLBACK;
