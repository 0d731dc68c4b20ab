-- Revert rowfs_core:rowfs_packs from pg
--
-- Packs are to be reverted before: what they have made is noted here alone. Rights on sqitch's
-- tables are not given back.

BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp;

DROP FUNCTION rowfs.pack_remove,
	rowfs.pack_rows,
	rowfs.replace,
	rowfs.pack_verify,
	rowfs.pack_end,
	rowfs.drop_scratch,
	rowfs.make_schema,
	rowfs.make_extension,
	rowfs.look_through,
	rowfs.make,
	rowfs.note_object,
	rowfs.learn,
	rowfs.used_by_copy,
	rowfs.for_scratch,
	rowfs.as_original,
	rowfs.copies,
	rowfs.scratch_schemas,
	rowfs.pack_begin,
	rowfs.pack_begin_in,
	rowfs.choose_schema,
	rowfs.pack_setting,
	rowfs.run_in,
	rowfs.differences,
	rowfs.object_differs,
	rowfs.compare,
	rowfs.list_columns,
	rowfs.compare_table,
	rowfs.find_same,
	rowfs.bare,
	rowfs.find_object,
	rowfs.objects_in,
	rowfs.describe,
	rowfs.describe_index,
	rowfs.describe_trigger,
	rowfs.describe_function,
	rowfs.describe_table,
	rowfs.column_names,
	rowfs.describe_columns,
	rowfs.plain_types,
	rowfs.plain_default;
DROP TABLE rowfs.object;

-- What a mount's role needs besides the tables that it serves.
CREATE OR REPLACE FUNCTION rowfs.allow(role regrole) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	rel regclass;
BEGIN
	EXECUTE format('GRANT USAGE ON SCHEMA rowfs TO %s', role);
	FOR rel IN SELECT c.oid FROM pg_class c
	            WHERE c.relnamespace = 'rowfs'::regnamespace AND c.relkind IN ('r', 'p') AND c.relname <> 'mutex' LOOP
		EXECUTE format('GRANT SELECT ON %s TO %s', rel, role);
		EXECUTE format('REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON %s FROM %s', rel, role);
		CONTINUE WHEN rel IN ('rowfs.slice'::regclass, 'rowfs.notice'::regclass, 'rowfs.secret'::regclass) OR rel::text = 'rowfs.partitioned';
		EXECUTE format(CASE WHEN rel IN ('rowfs.delta'::regclass, 'rowfs.doubt'::regclass)
		               THEN 'GRANT INSERT ON %s TO %s' ELSE 'GRANT INSERT, UPDATE, DELETE ON %s TO %s' END, rel, role);
	END LOOP;
END
$$;

COMMIT;
