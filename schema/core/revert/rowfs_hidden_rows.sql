-- Revert rowfs_core:rowfs_hidden_rows from pg

BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp;

DO $$
DECLARE
	p record;
	rel regclass;
BEGIN
	FOR p IN SELECT o.polname, o.polrelid::regclass AS rel FROM pg_policy o
	          WHERE o.polrelid IN ('rowfs.slice'::regclass, 'rowfs.summary'::regclass,
	                               'rowfs.delta'::regclass, 'rowfs.doubt'::regclass)
	            AND o.polname IN ('may_see', 'may_make', 'may_change', 'may_remove') LOOP
		EXECUTE format('DROP POLICY %I ON %s', p.polname, p.rel);
	END LOOP;
	FOREACH rel IN ARRAY ARRAY['rowfs.slice', 'rowfs.summary', 'rowfs.delta', 'rowfs.doubt']::regclass[] LOOP
		EXECUTE format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY', rel);
	END LOOP;
END $$;
DROP FUNCTION rowfs.sees_all(text);

COMMIT;
