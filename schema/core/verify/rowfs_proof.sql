-- Verify rowfs_core:rowfs_proof on pg

BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp;

SELECT 1 / count(*) FROM rowfs.secret WHERE length(proof) = 64;
SELECT has_function_privilege(f, 'execute') FROM unnest(ARRAY['rowfs.proof_hash()', 'rowfs.is_proven(text)', 'rowfs.tells(regclass)',
	'rowfs.rows_arrive_as_sent(regclass)', 'rowfs.differing(bigint)', 'rowfs.is_mounted()']) f;

ROLLBACK;
