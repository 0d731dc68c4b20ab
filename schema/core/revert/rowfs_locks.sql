-- Revert rowfs_core:rowfs_locks from pg
--
-- The functions of schema/partitioned stay as they are: they need nothing of this change.

BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp;

-- What a mount's role needs besides the tables that it serves.
CREATE OR REPLACE FUNCTION rowfs.allow(role regrole) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	rel regclass;
BEGIN
	EXECUTE format('GRANT USAGE ON SCHEMA rowfs TO %s', role);
	FOR rel IN SELECT c.oid FROM pg_class c WHERE c.relnamespace = 'rowfs'::regnamespace AND c.relkind IN ('r', 'p') LOOP
		EXECUTE format('GRANT SELECT ON %s TO %s', rel, role);
		EXECUTE format(CASE WHEN rel IN ('rowfs.slice'::regclass, 'rowfs.notice'::regclass) OR rel::text = 'rowfs.partitioned'
		               THEN 'REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON %s FROM %s'
		               ELSE 'GRANT INSERT, UPDATE, DELETE ON %s TO %s' END, rel, role);
	END LOOP;
END
$$;

-- Brings what triggers have noted into the summary. One at a time; returns how many notes it were.
CREATE OR REPLACE FUNCTION rowfs.fold() RETURNS bigint LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	file record;
	n bigint := 0;
BEGIN
	IF NOT EXISTS (SELECT FROM rowfs.delta)
	   OR NOT pg_try_advisory_xact_lock('rowfs.delta'::regclass::oid::int, 0) THEN
		RETURN 0;
	END IF;
	-- in the order of the keys: so do all who add to the summary, and none waits in a circle
	FOR file IN
		WITH gone AS (DELETE FROM rowfs.delta RETURNING *),
		sums AS (
			SELECT g.slice, g.k1, g.k2, g.k3, g.k4, sum(g.rows)::bigint AS rows,
			       sum(g.bytes)::bigint AS bytes, max(g.changed) AS changed, count(*) AS notes
			  FROM gone g GROUP BY g.slice, g.k1, g.k2, g.k3, g.k4),
		kept AS (
			INSERT INTO rowfs.summary AS s
			SELECT u.slice, u.k1, u.k2, u.k3, u.k4, u.rows, u.bytes, u.changed FROM sums u
			 WHERE EXISTS (SELECT FROM rowfs.slice x WHERE x.id = u.slice)
			 ORDER BY 1, 2, 3, 4, 5
			ON CONFLICT (slice, k1, k2, k3, k4) DO UPDATE SET rows = s.rows + EXCLUDED.rows,
				bytes = s.bytes + EXCLUDED.bytes, changed = greatest(s.changed, EXCLUDED.changed)
			RETURNING s.*)
		SELECT u.notes, k.* FROM sums u LEFT JOIN kept k USING (slice, k1, k2, k3, k4)
		 ORDER BY u.slice, u.k1, u.k2, u.k3, u.k4
	LOOP
		n := n + file.notes;
		IF file.rows = 0 THEN
			-- a file that is always there keeps the time of its last change
			DELETE FROM rowfs.summary s USING rowfs.slice x
			 WHERE (s.slice, s.k1, s.k2, s.k3, s.k4) = (file.slice, file.k1, file.k2, file.k3, file.k4)
			   AND s.rows = 0 AND x.id = s.slice AND x.keys <> '{}';
		END IF;
	END LOOP;
	RETURN n;
END
$$;

DROP FUNCTION rowfs.lock_mutex(text, regclass);
DROP TABLE rowfs.mutex;

COMMIT;
