-- Revert rowfs_core:rowfs_operators from pg
--
-- Search paths of functions stay: nothing needs them otherwise.

BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp;

-- Sends a notice of WHAT, members of a JSON object as text; if that is too long, of NOTHING, the same without keys. A
-- mount that changes something by itself gets it back with the answer, before the commit, and passes it on when it is
-- committed: a NOTIFY in the transaction would make all who commit wait for each other.
CREATE OR REPLACE FUNCTION rowfs.send_notice(what text, nothing text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	mount text := nullif(current_setting('rowfs.mount', true), '');
	beginning text := '{"m": ' || coalesce(to_json(mount)::text, 'null') || ', "n": {';
	payload text := beginning || what || '}}';
BEGIN
	IF octet_length(payload) > 7900 THEN
		payload := beginning || nothing || '}}';
	END IF;
	IF mount IS NOT NULL THEN
		RAISE INFO USING MESSAGE = payload, ERRCODE = 'RF001';
	ELSE
		PERFORM pg_notify('rowfs', payload);
	END IF;
END
$$;

COMMIT;
