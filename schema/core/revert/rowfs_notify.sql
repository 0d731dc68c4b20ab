-- Revert rowfs_core:rowfs_notify from pg

BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp;

SELECT rowfs.drop_triggers(NULL, 'notice');

DROP FUNCTION rowfs.sources(regclass), rowfs.untell(regclass), rowfs.tell(regclass, bigint[], jsonb), rowfs.tell(regclass),
	rowfs.is_told(regclass), rowfs.notice_body(regclass), rowfs.notice_keys(text[], text[]), rowfs.notice_source(regclass),
	rowfs.notice_identity(regclass), rowfs.notify_all(regclass), rowfs.notice_nothing(regclass),
	rowfs.send_notice(text, text), rowfs.notices_of(regclass);
DROP TABLE rowfs.notice;

COMMIT;
