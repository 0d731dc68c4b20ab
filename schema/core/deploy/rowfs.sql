-- Deploy rowfs_core:rowfs to pg
--
-- What rowfs keeps for itself. Nothing here is part of the data that it serves.

BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp;

-- It is there already where sqitch, as its configuration here says, keeps its own tables in it.
CREATE SCHEMA IF NOT EXISTS rowfs;

CREATE TABLE rowfs.applied (
	op uuid PRIMARY KEY,
	at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE rowfs.applied IS
	'Operations that are committed: an append that lost its connection at COMMIT finds itself here';
CREATE INDEX applied_at ON rowfs.applied (at);

-- An operation asks for itself within seconds; a day is plenty. Returns how many were forgotten.
CREATE FUNCTION rowfs.forget_applied(older interval DEFAULT '1 day') RETURNS bigint
LANGUAGE sql
BEGIN ATOMIC
	WITH forgotten AS (
		DELETE FROM rowfs.applied WHERE at < now() - older RETURNING 1
	)
	SELECT count(*) FROM forgotten;
END;

COMMIT;
