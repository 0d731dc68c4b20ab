-- Deploy rowfs_core:rowfs_locks to pg
-- requires: rowfs_definitions
--
-- Who waits for whom: row locks instead of advisory locks, which any role that may connect can take.

BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp;

-- A row for each thing that one session does at a time. To lock a row takes the right to change it, which only the owner has.
CREATE TABLE rowfs.mutex (
	name     text NOT NULL,
	relation oid NOT NULL DEFAULT 0, -- the table that it is about
	PRIMARY KEY (name, relation)
);
INSERT INTO rowfs.mutex (name) VALUES ('fold');

-- Waits for the row, and keeps it until the end of the transaction.
CREATE FUNCTION rowfs.lock_mutex(name text, rel regclass) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF NOT has_table_privilege('rowfs.mutex', 'INSERT, UPDATE') THEN
		RAISE insufficient_privilege USING MESSAGE = format('triggers are made by %s, the owner of the schema rowfs, only',
			(SELECT n.nspowner::regrole FROM pg_namespace n WHERE n.nspname = 'rowfs'));
	END IF;
	INSERT INTO rowfs.mutex VALUES (lock_mutex.name, rel) ON CONFLICT DO NOTHING;
	PERFORM FROM rowfs.mutex m WHERE m.name = lock_mutex.name AND m.relation = rel FOR UPDATE;
END
$$;

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
	IF NOT EXISTS (SELECT FROM rowfs.delta) THEN
		RETURN 0;
	END IF;
	PERFORM FROM rowfs.mutex WHERE name = 'fold' FOR UPDATE SKIP LOCKED;
	IF NOT FOUND THEN
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

-- Partitions, where schema/partitioned is deployed: as its script says now.
DO $$
DECLARE
	fn regprocedure;
	lock text := $l$
		IF has_table_privilege(p.relation, 'UPDATE') THEN
			EXECUTE format('LOCK TABLE ONLY %s IN SHARE UPDATE EXCLUSIVE MODE', p.relation);
		END IF;
$l$;
BEGIN
	FOR fn IN SELECT p.oid FROM pg_proc p WHERE p.pronamespace = 'rowfs'::regnamespace AND p.proname IN ('make_partitions', 'drop_partitions') LOOP
		EXECUTE replace(replace(replace(pg_get_functiondef(fn),
			E'\tPERFORM pg_advisory_xact_lock(''rowfs.partitioned''::regclass::oid::int, 0);\n', ''),
			E'x.relation = make_partitions.relation LOOP\n', E'x.relation = make_partitions.relation ORDER BY x.relation LOOP\n' || lock),
			E'coalesce(older, x.keep) IS NOT NULL LOOP\n', E'coalesce(older, x.keep) IS NOT NULL ORDER BY x.relation LOOP\n' || lock);
	END LOOP;
END $$;

COMMIT;
