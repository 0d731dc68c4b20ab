-- Revert rowfs:rowfs_streams from pg

BEGIN;

DO $$
DECLARE
	t record;
BEGIN
	FOR t IN SELECT g.tgname, g.tgrelid::regclass AS rel FROM pg_trigger g JOIN pg_proc p ON p.oid = g.tgfoid
	          WHERE p.pronamespace = 'rowfs'::regnamespace AND p.proname ~ '^watch_[0-9]+$' LOOP
		EXECUTE format('DROP TRIGGER %I ON %s', t.tgname, t.rel);
	END LOOP;
	FOR t IN SELECT p.oid::regprocedure AS fn FROM pg_proc p
	          WHERE p.pronamespace = 'rowfs'::regnamespace AND p.proname ~ '^watch_[0-9]+$' LOOP
		EXECUTE format('DROP FUNCTION %s', t.fn);
	END LOOP;
END
$$;

DROP FUNCTION rowfs.fold(), rowfs.built(bigint[]), rowfs.build(bigint, regclass, text, bigint, bigint),
	rowfs.parts(regclass), rowfs.install(regclass, bigint[], jsonb), rowfs.unwatch(regclass),
	rowfs.drop_own_triggers(regclass), rowfs.watch(regclass), rowfs.drop_triggers(regclass),
	rowfs.takes_rows_as_sent(regclass), rowfs.is_watched(regclass), rowfs.watch_name(regclass),
	rowfs.watch_body(regclass), rowfs.count_in(regclass), rowfs.count_out(regclass),
	rowfs.count_rows(regclass, int), rowfs.counting(rowfs.slice, text[], int[], text),
	rowfs.slices_of(regclass), rowfs.family(regclass), rowfs.is_true(bigint);
DROP TABLE rowfs.doubt, rowfs.delta, rowfs.summary, rowfs.slice, rowfs.stream;

COMMIT;
