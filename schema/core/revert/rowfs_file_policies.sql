-- Revert rowfs_core:rowfs_file_policies from pg

BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp;

DO $$
DECLARE
	p record;
BEGIN
	FOR p IN SELECT o.polname, o.polrelid::regclass AS rel FROM pg_policy o
	          WHERE o.polrelid IN ('rowfs.file'::regclass, 'rowfs.chunk'::regclass, 'rowfs.file_rows'::regclass)
	            AND o.polname IN ('may_see', 'may_make', 'may_change', 'may_remove') LOOP
		EXECUTE format('DROP POLICY %I ON %s', p.polname, p.rel);
	END LOOP;
END $$;
ALTER TABLE rowfs.file DISABLE ROW LEVEL SECURITY;
ALTER TABLE rowfs.chunk DISABLE ROW LEVEL SECURITY;
ALTER TABLE rowfs.file_rows DISABLE ROW LEVEL SECURITY;
DROP FUNCTION rowfs.may_write_file(bigint), rowfs.may_write(text), rowfs.may_read(text);
ALTER TABLE rowfs.file DROP COLUMN relation;

COMMIT;
