-- Revert rowfs_core:rowfs_streams from pg

BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp;

SELECT rowfs.drop_triggers(NULL, 'watch');

DROP FUNCTION rowfs.fold(), rowfs.built(bigint[]), rowfs.build(bigint, regclass, text, bigint, bigint),
	rowfs.parts(regclass), rowfs.install(regclass, bigint[], jsonb), rowfs.unwatch(regclass), rowfs.takes_rows_as_sent(regclass),
	rowfs.watch(regclass), rowfs.is_watched(regclass), rowfs.drop_triggers(regclass, text),
	rowfs.make_triggers(text, regclass, text), rowfs.has_triggers(text, regclass, text),
	rowfs.without_triggers(text, regclass), rowfs.trigger_function(text, regclass), rowfs.triggers(text),
	rowfs.watch_body(regclass), rowfs.count_in(regclass), rowfs.count_out(regclass),
	rowfs.count_rows(regclass, int), rowfs.counting(rowfs.slice, text[], int[], text, boolean),
	rowfs.slices_of(regclass), rowfs.family(regclass), rowfs.is_true(bigint);
DROP TABLE rowfs.doubt, rowfs.delta, rowfs.summary, rowfs.slice, rowfs.stream;

COMMIT;
