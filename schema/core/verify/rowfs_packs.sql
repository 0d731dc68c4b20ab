-- Verify rowfs_core:rowfs_packs on pg

BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp;

SELECT pack, n, type, identity, made, wanted, promise, differs, before
  FROM rowfs.object WHERE false;
SELECT has_function_privilege(f, 'execute') FROM unnest(ARRAY['rowfs.pack_begin(text, text)',
	'rowfs.make(text, text)', 'rowfs.make_extension(text)', 'rowfs.make_schema(text)',
	'rowfs.pack_end()',
	'rowfs.pack_verify(text)', 'rowfs.differences(text)', 'rowfs.replace(text, text)',
	'rowfs.pack_rows(text)', 'rowfs.pack_remove(text)']) f;

ROLLBACK;
