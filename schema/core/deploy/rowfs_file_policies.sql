-- Deploy rowfs_core:rowfs_file_policies to pg
-- requires: rowfs_channel
-- requires: rowfs_files_proof
-- requires: rowfs_bounds
--
-- Whose an ingest file is: its table's. A role of a mount sees and changes files of tables only
-- that it has rights on.

BEGIN;

SET LOCAL search_path = pg_catalog, pg_temp;

-- Mounts of the version before would not say whose the files are that they make.
DO $$ BEGIN
	IF rowfs.is_mounted() THEN
		RAISE object_in_use USING MESSAGE =
			'this database is mounted: unmount it first, and mount it again after the upgrade';
	END IF;
END $$;

-- A name and no oid: the files stay when the table is dropped and made anew. NULL: nobody has
-- said it yet (files from before this change).
ALTER TABLE rowfs.file ADD COLUMN relation text
	CONSTRAINT file_relation CHECK (cardinality(parse_ident(relation)) = 2); -- as of rowfs.full_name()
CREATE INDEX file_of_none ON rowfs.file (dir, name) WHERE relation IS NULL;

-- Whether the role may see the ingest files of the table RELATION: it may read it, or add rows to
-- it (collectors read what they have written). False if there is no such table. to_regclass() would
-- be an error where the role may not use the schema. These functions are plpgsql and have no search
-- path of their own: the planner would put the text of an SQL function into each statement of a
-- commit, which costs three times what the calls do.
CREATE FUNCTION rowfs.may_read(relation text) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
	RETURN CASE WHEN pg_catalog.has_schema_privilege(pg_catalog.to_regnamespace(
		pg_catalog.quote_ident((pg_catalog.parse_ident(relation))[1]))::pg_catalog.oid, 'USAGE')
	THEN coalesce(pg_catalog.has_any_column_privilege(
		pg_catalog.to_regclass(relation)::pg_catalog.oid, 'SELECT, INSERT'), false)
	ELSE false END;
END
$$;

-- Whether it may make, change and remove them: as its rows.
CREATE FUNCTION rowfs.may_write(relation text) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
	RETURN CASE WHEN pg_catalog.has_schema_privilege(pg_catalog.to_regnamespace(
		pg_catalog.quote_ident((pg_catalog.parse_ident(relation))[1]))::pg_catalog.oid, 'USAGE')
	THEN coalesce(pg_catalog.has_any_column_privilege(
		pg_catalog.to_regclass(relation)::pg_catalog.oid, 'INSERT')
		OR pg_catalog.has_table_privilege(
		pg_catalog.to_regclass(relation)::pg_catalog.oid, 'DELETE'), false)
	ELSE false END;
END
$$;

-- Whether it may do so with the file of that id. The policies of rowfs.file hold in it.
CREATE FUNCTION rowfs.may_write_file(file bigint) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
	RETURN EXISTS (SELECT FROM rowfs.file f WHERE f.id OPERATOR(pg_catalog.=) may_write_file.file
	                  AND (f.relation IS NULL OR rowfs.may_write(f.relation)));
END
$$;

-- A file of nobody's is everybody's, until a mount or the owner has said whose it is. Nobody can
-- make one, or make one of another.
ALTER TABLE rowfs.file ENABLE ROW LEVEL SECURITY;
CREATE POLICY may_see ON rowfs.file FOR SELECT USING (relation IS NULL OR rowfs.may_read(relation));
CREATE POLICY may_make ON rowfs.file FOR INSERT WITH CHECK (rowfs.may_write(relation));
CREATE POLICY may_change ON rowfs.file FOR UPDATE
	USING (relation IS NULL OR rowfs.may_write(relation)) WITH CHECK (rowfs.may_write(relation));
CREATE POLICY may_remove ON rowfs.file FOR DELETE
	USING (relation IS NULL OR rowfs.may_write(relation));

-- What belongs to a file is under the same rules: the policies above hold in the subquery, too. Who
-- reads many rows has it hashed; a commit does not plan one for each table.
DO $$
DECLARE
	rel regclass;
	see text;
	change text := 'rowfs.may_write_file(file)';
BEGIN
	FOREACH rel IN ARRAY ARRAY['rowfs.chunk', 'rowfs.file_rows']::regclass[] LOOP
		see := format('EXISTS (SELECT FROM rowfs.file f WHERE f.id = %s.file)', rel);
		EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', rel);
		EXECUTE format('CREATE POLICY may_see ON %s FOR SELECT USING (%s)', rel, see);
		EXECUTE format('CREATE POLICY may_make ON %s FOR INSERT WITH CHECK (%s)', rel, change);
		EXECUTE format('CREATE POLICY may_change ON %s FOR UPDATE USING (%s) WITH CHECK (%2$s)',
			rel, change);
		EXECUTE format('CREATE POLICY may_remove ON %s FOR DELETE USING (%s)', rel, change);
	END LOOP;
END $$;

COMMIT;
