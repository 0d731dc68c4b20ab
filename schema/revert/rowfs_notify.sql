-- Revert rowfs:rowfs_notify from pg

BEGIN;

DO $$
DECLARE
	t record;
BEGIN
	FOR t IN SELECT g.tgname, g.tgrelid::regclass AS rel FROM pg_trigger g JOIN pg_proc p ON p.oid = g.tgfoid
	          WHERE p.pronamespace = 'rowfs'::regnamespace AND p.proname ~ '^notice_[0-9]+$' LOOP
		EXECUTE format('DROP TRIGGER %I ON %s', t.tgname, t.rel);
	END LOOP;
	FOR t IN SELECT p.oid::regprocedure AS fn FROM pg_proc p
	          WHERE p.pronamespace = 'rowfs'::regnamespace AND p.proname ~ '^notice_[0-9]+$' LOOP
		EXECUTE format('DROP FUNCTION %s', t.fn);
	END LOOP;
END
$$;

DROP FUNCTION rowfs.sources(regclass), rowfs.untell(regclass), rowfs.tell(regclass, bigint[], jsonb), rowfs.tell(regclass),
	rowfs.drop_notice_triggers(regclass), rowfs.is_told(regclass), rowfs.notice_mark(regclass), rowfs.notice_triggers(regclass, text),
	rowfs.notice_name(regclass), rowfs.notice_body(regclass), rowfs.notice_identity(regclass), rowfs.notify_all(regclass),
	rowfs.send_notice(jsonb), rowfs.notices_of(regclass);
DROP TABLE rowfs.notice;

COMMIT;
