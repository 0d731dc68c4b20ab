-- Deploy rowfs_core:rowfs_hidden_rows to pg
-- requires: rowfs_silent
--
-- What is kept of a table's rows (how many a file has, their bytes, its name, when they changed) is
-- for roles that see all of the rows.

BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp;

-- Whether row security hides no row of the table RELATION from the role, and the role may read it.
-- False if there is no such table. As may_read(): plpgsql, without a search path of its own.
CREATE FUNCTION rowfs.sees_all(relation text) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
	RETURN CASE WHEN pg_catalog.has_schema_privilege(pg_catalog.to_regnamespace(
		pg_catalog.quote_ident((pg_catalog.parse_ident(relation))[1]))::pg_catalog.oid, 'USAGE')
	THEN coalesce(pg_catalog.has_any_column_privilege(
		pg_catalog.to_regclass(relation)::pg_catalog.oid, 'SELECT')
		AND NOT pg_catalog.row_security_active(
		pg_catalog.to_regclass(relation)::pg_catalog.oid), false)
	ELSE false END;
END
$$;

-- A mount that does not find the definition goes by the rows themselves, as it does while the
-- summary is in doubt. So does a mount of the version before.
ALTER TABLE rowfs.slice ENABLE ROW LEVEL SECURITY;
CREATE POLICY may_see ON rowfs.slice FOR SELECT USING (rowfs.sees_all(relation));

-- The policy above holds in the subquery, too. Writing is as free as before: a policy that comes
-- while a mount has lines under way costs it no line.
DO $$
DECLARE
	rel regclass;
BEGIN
	FOREACH rel IN ARRAY ARRAY['rowfs.summary', 'rowfs.delta']::regclass[] LOOP
		EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', rel);
		EXECUTE format('CREATE POLICY may_see ON %s FOR SELECT '
			'USING (EXISTS (SELECT FROM rowfs.slice g WHERE g.id = %1$s.slice))', rel);
	END LOOP;
	CREATE POLICY may_make ON rowfs.summary FOR INSERT WITH CHECK (true);
	CREATE POLICY may_change ON rowfs.summary FOR UPDATE USING (true);
	CREATE POLICY may_remove ON rowfs.summary FOR DELETE USING (true);
	CREATE POLICY may_make ON rowfs.delta FOR INSERT WITH CHECK (true);
END $$;

-- A message of the server may say a value of a row. What is noted under a notice's id is of that
-- notice's table.
ALTER TABLE rowfs.doubt ENABLE ROW LEVEL SECURITY;
CREATE POLICY may_see ON rowfs.doubt FOR SELECT USING (
	EXISTS (SELECT FROM rowfs.slice g WHERE g.id = doubt.slice) OR
	EXISTS (SELECT FROM rowfs.notice n WHERE n.id = doubt.slice AND rowfs.sees_all(n.relation)));
CREATE POLICY may_make ON rowfs.doubt FOR INSERT WITH CHECK (true);

COMMIT;
