-- Deploy rowfs_core:rowfs_streams to pg
-- requires: rowfs
--
-- Streams of lines: how far each is committed, and what each rows file holds.

BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp;

-- One row for each lane of each mount. `off` is the number of its last committed batch; a batch moves
-- it in its own transaction, and only from the value before: a repetition finds it moved.
CREATE TABLE rowfs.stream (
	stream  uuid PRIMARY KEY,
	off     bigint NOT NULL DEFAULT 0,
	touched timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);

-- What a rows file is, seen from its table: see schema/slice.h. Rows are counted in two steps, so that each
-- row costs little: first by groups, then a file's name and what all its lines have in common are made once
-- for each group.
CREATE TABLE rowfs.slice (
	id         bigint PRIMARY KEY,   -- a hash of the definition
	relation   text NOT NULL,        -- "schema"."name"
	groups     text[] NOT NULL,      -- over the row r, one a key: rows that agree in all are in one file
	facts      text[] NOT NULL,      -- over the row r: what key 1 is made of, g.g1, is the least of a group's
	keys       text[] NOT NULL,      -- over the group g: the file's name
	row_bytes  text NOT NULL,        -- over the row r: bytes of its line, newline and all, without the next
	file_bytes text NOT NULL,        -- over the group g: bytes that each of its lines has besides
	built      boolean NOT NULL DEFAULT false,
	used       timestamptz NOT NULL DEFAULT now()
);

-- Rows and bytes of each file (header left out). What triggers add is first a row of rowfs.delta, so
-- that writers do not wait for each other; rowfs.fold() brings it here.
CREATE TABLE rowfs.summary (
	slice   bigint NOT NULL,
	k1      text COLLATE "C" NOT NULL DEFAULT '',
	k2      text COLLATE "C" NOT NULL DEFAULT '',
	k3      text COLLATE "C" NOT NULL DEFAULT '',
	k4      text COLLATE "C" NOT NULL DEFAULT '',
	rows    bigint NOT NULL,
	bytes   bigint NOT NULL,
	changed timestamptz NOT NULL,
	PRIMARY KEY (slice, k1, k2, k3, k4)
) WITH (fillfactor = 50);

CREATE TABLE rowfs.delta (LIKE rowfs.summary INCLUDING DEFAULTS);
CREATE INDEX delta_file ON rowfs.delta (slice, k1, k2, k3, k4);

-- Slices that something could not be counted for. Look-ups sum the rows themselves until the slice is
-- built anew. Rows are only added: writers do not wait for each other here either.
CREATE TABLE rowfs.doubt (
	slice bigint NOT NULL,
	why   text NOT NULL,
	at    timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX doubt_slice ON rowfs.doubt (slice);

-- Whether look-ups may go by the summary.
CREATE FUNCTION rowfs.is_true(slice bigint) RETURNS boolean LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT coalesce((SELECT s.built FROM rowfs.slice s WHERE s.id = is_true.slice), false)
	       AND NOT EXISTS (SELECT FROM rowfs.doubt d WHERE d.slice = is_true.slice);
END;

-- A table and all that is below it: partitions, and tables that inherit from it.
CREATE FUNCTION rowfs.family(top regclass) RETURNS SETOF regclass LANGUAGE sql STABLE
BEGIN ATOMIC
	WITH RECURSIVE f(rel) AS (
		SELECT top::oid
		UNION
		SELECT i.inhrelid FROM f JOIN pg_inherits i ON i.inhparent = f.rel
	)
	SELECT rel::regclass FROM f ORDER BY rel;
END;

-- The slices that are counted on a table: its own, or those of the table that it is a partition of.
CREATE FUNCTION rowfs.slices_of(rel regclass) RETURNS SETOF rowfs.slice LANGUAGE sql STABLE
BEGIN ATOMIC
	WITH RECURSIVE up(rel) AS (
		SELECT rel::oid
		UNION
		SELECT i.inhparent FROM up JOIN pg_inherits i ON i.inhrelid = up.rel
	)
	SELECT s.* FROM rowfs.slice s JOIN up ON to_regclass(s.relation) = up.rel::regclass
	 ORDER BY s.id;
END;

-- SELECT that sums, for slice S, the rows of each of SOURCES ("fresh r", "ONLY t r"), counted SIGNS times.
-- The columns are those of rowfs.summary; LATEST is an expression over r for a row's time, or NULL. ALONE: each of
-- SOURCES has one row, and nothing need be gathered.
CREATE FUNCTION rowfs.counting(s rowfs.slice, sources text[], signs int[], latest text, alone boolean DEFAULT false)
RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
	keys text := '';
	known text := 'true';
	facts text := '';
	grouped text := '';
	parts text[] := '{}';
BEGIN
	FOR i IN 1..4 LOOP
		keys := keys || format('(%s) COLLATE "C" AS k%s, ', coalesce(s.keys[i], '''''::text'), i);
	END LOOP;
	FOR i IN 1..cardinality(s.keys) LOOP
		known := known || format(' AND x.k%s IS NOT NULL', i);
		facts := facts || format(CASE WHEN alone OR s.facts[i] = s.groups[i] THEN '%s' ELSE 'min(%s)' END || ' AS g%s, ',
			s.facts[i], i);
		grouped := grouped || CASE WHEN i > 1 THEN ', ' ELSE 'GROUP BY ' END || s.groups[i];
	END LOOP;
	FOR i IN 1..cardinality(sources) LOOP
		parts := parts || format('SELECT %s%s * g.n AS n, %s * (g.b + g.n * (%s)) AS b, g.t FROM '
			'(SELECT %s' || CASE WHEN alone THEN '1 AS n, %s AS b, %s AS t FROM %s OFFSET 0'
			ELSE 'count(*) AS n, sum(%s) AS b, %s AS t FROM %s %s HAVING count(*) > 0' END || ') g',
			keys, signs[i], signs[i], s.file_bytes, facts, s.row_bytes,
			coalesce('max(' || latest || ')', 'NULL::timestamptz'), sources[i], grouped);
	END LOOP;
	IF alone AND cardinality(sources) = 1 THEN
		RETURN format('SELECT %s::bigint AS slice, x.k1, x.k2, x.k3, x.k4, x.n AS rows, x.b AS bytes, '
			'clock_timestamp() AS changed FROM (%s) x WHERE %s', s.id, parts[1], known);
	END IF;
	RETURN format('SELECT %s::bigint AS slice, x.k1, x.k2, x.k3, x.k4, sum(x.n)::bigint AS rows, '
		'sum(x.b)::bigint AS bytes, coalesce(max(x.t), clock_timestamp()) AS changed '
		'FROM (%s) x WHERE %s GROUP BY x.k1, x.k2, x.k3, x.k4',
		s.id, array_to_string(parts, ' UNION ALL '), known);
END
$$;

-- Adds SIGN times the rows of PART and of all that is below it. For partitions that come and go with their
-- rows.
CREATE FUNCTION rowfs.count_rows(part regclass, sign int) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET "TimeZone" = 'UTC' SET "DateStyle" = 'ISO, YMD' SET "IntervalStyle" = 'postgres'
SET extra_float_digits = 1 SET bytea_output = 'hex' AS $$
DECLARE
	member regclass;
	s rowfs.slice;
BEGIN
	EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', part);
	FOR member IN SELECT * FROM rowfs.family(part) LOOP
		FOR s IN SELECT * FROM rowfs.slices_of(member) LOOP
			EXECUTE 'INSERT INTO rowfs.delta ' || rowfs.counting(s, ARRAY['ONLY ' || member || ' r'],
				ARRAY[sign], NULL);
		END LOOP;
	END LOOP;
END
$$;

-- Before a partition is dropped or detached, in the same transaction.
CREATE FUNCTION rowfs.count_out(part regclass) RETURNS void LANGUAGE sql
BEGIN ATOMIC
	SELECT rowfs.count_rows(part, -1);
END;

-- After a partition is attached that has rows already, in the same transaction.
CREATE FUNCTION rowfs.count_in(part regclass) RETURNS void LANGUAGE sql
BEGIN ATOMIC
	SELECT rowfs.count_rows(part, 1);
END;

-- The text of the trigger function of TOP, made of all its slices. Most statements change one row: they are spared what
-- gathers many. An UPDATE is measured by the rows that it takes away: not all of them arrive where another partition's
-- trigger drops them. A mistake (a column that is gone) must not break the writer's statement: the slice is in doubt then.
CREATE FUNCTION rowfs.watch_body(top regclass) RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
	s rowfs.slice;
	body text := E'DECLARE one bigint; found int;\nBEGIN\n';
	name text := CASE WHEN (SELECT relkind FROM pg_class WHERE oid = top) = 'p' THEN top::oid::text ELSE '' END;
BEGIN
	body := body || format(E'IF TG_OP = ''TRUNCATE'' AND TG_WHEN = ''AFTER'' THEN\n'
		'	PERFORM set_config(''rowfs.truncated'', '''', true); RETURN NULL;\n'
		'ELSIF TG_OP = ''INSERT'' THEN\n	SELECT count(*) INTO found FROM (SELECT FROM fresh LIMIT 2) x;\n'
		'ELSIF TG_OP <> ''TRUNCATE'' THEN\n	SELECT count(*) INTO found FROM (SELECT FROM stale LIMIT 2) x;\n'
		'END IF;\nIF found = 0 THEN\n	RETURN NULL;\nEND IF;\n');
	FOR s IN SELECT * FROM rowfs.slices_of(top) LOOP
		body := body || format($f$one := %1$s;
BEGIN
	IF TG_OP = 'INSERT' AND found = 1 THEN
		INSERT INTO rowfs.delta %7$s;
	ELSIF TG_OP = 'DELETE' AND found = 1 THEN
		INSERT INTO rowfs.delta %8$s;
	ELSIF TG_OP = 'UPDATE' AND found = 1 THEN
		INSERT INTO rowfs.delta %9$s;
	ELSIF TG_OP = 'INSERT' THEN
		INSERT INTO rowfs.delta %2$s;
	ELSIF TG_OP = 'DELETE' THEN
		INSERT INTO rowfs.delta %3$s;
	ELSIF TG_OP = 'UPDATE' THEN
		INSERT INTO rowfs.delta %4$s;
	ELSIF current_setting('transaction_isolation') <> 'read committed' THEN
		INSERT INTO rowfs.doubt (slice, why)
		VALUES (one, 'TRUNCATE in a transaction that does not see what others committed');
	ELSIF TG_RELID = %5$s AND (%6$L <> '' OR NOT EXISTS (SELECT FROM pg_inherits WHERE inhparent = TG_RELID)) THEN
		-- all rows go, whatever their number
		INSERT INTO rowfs.delta SELECT u.slice, u.k1, u.k2, u.k3, u.k4, -sum(u.rows), -sum(u.bytes), clock_timestamp()
		  FROM (SELECT * FROM rowfs.summary WHERE slice = one
		        UNION ALL SELECT * FROM rowfs.delta WHERE slice = one) u
		 GROUP BY u.slice, u.k1, u.k2, u.k3, u.k4;
	ELSIF coalesce(current_setting('rowfs.truncated', true), '') <> %5$L AND
	      (SELECT relkind FROM pg_class WHERE oid = TG_RELID) = 'r' THEN
		EXECUTE 'INSERT INTO rowfs.delta ' || rowfs.counting(x, ARRAY['ONLY ' || TG_RELID::regclass || ' r'],
			ARRAY[-1], NULL) FROM rowfs.slice x WHERE x.id = one;
	END IF;
EXCEPTION WHEN OTHERS THEN
	INSERT INTO rowfs.doubt (slice, why) SELECT one, SQLERRM
	 WHERE NOT EXISTS (SELECT FROM rowfs.doubt d WHERE d.slice = one);
	RAISE WARNING 'rowfs: %%: the sizes of its files are summed until they are counted anew (rowfs check): %%',
		TG_RELID::regclass, SQLERRM;
END;
$f$,
			s.id,
			rowfs.counting(s, '{fresh r}', '{1}', NULL),
			rowfs.counting(s, '{stale r}', '{-1}', NULL),
			rowfs.counting(s, '{fresh r,stale r}', '{1,-1}', NULL),
			top::oid, name,
			rowfs.counting(s, '{fresh r}', '{1}', NULL, true),
			rowfs.counting(s, '{stale r}', '{-1}', NULL, true),
			rowfs.counting(s, '{fresh r,stale r}', '{1,-1}', NULL, true));
	END LOOP;
	RETURN body || format(E'IF TG_OP = ''TRUNCATE'' AND TG_RELID::text = %L THEN\n'
		'	PERFORM set_config(''rowfs.truncated'', TG_RELID::text, true);\nEND IF;\nRETURN NULL;\nEND',
		name);
END
$$;

-- The triggers that a table has for KIND: "watch" counts what is in rows files, "notice" tells mounts of changes.
CREATE FUNCTION rowfs.triggers(kind text) RETURNS TABLE (name text, event text, rows text) LANGUAGE sql IMMUTABLE
BEGIN ATOMIC
	SELECT v.name, v.event, v.rows FROM (VALUES
		('watch', 'rowfs_insert', 'AFTER INSERT', 'NEW TABLE AS fresh'),
		('watch', 'rowfs_update', 'AFTER UPDATE', 'OLD TABLE AS stale NEW TABLE AS fresh'),
		('watch', 'rowfs_delete', 'AFTER DELETE', 'OLD TABLE AS stale'),
		('watch', 'rowfs_truncate', 'BEFORE TRUNCATE', NULL),
		('watch', 'rowfs_truncated', 'AFTER TRUNCATE', NULL),
		('notice', 'tell_rowfs_insert', 'AFTER INSERT', 'NEW TABLE AS fresh'),
		('notice', 'tell_rowfs_update', 'AFTER UPDATE', 'OLD TABLE AS stale NEW TABLE AS fresh'),
		('notice', 'tell_rowfs_delete', 'AFTER DELETE', 'OLD TABLE AS stale'),
		('notice', 'tell_rowfs_truncate', 'AFTER TRUNCATE', NULL)
	) v(kind, name, event, rows) WHERE v.kind = triggers.kind;
END;

-- The function that they call, in all of TOP's family.
CREATE FUNCTION rowfs.trigger_function(kind text, top regclass) RETURNS text LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT kind || '_' || top::oid;
END;

-- The members of TOP's family that lack one of them, or on which one is not enabled.
CREATE FUNCTION rowfs.without_triggers(kind text, top regclass) RETURNS SETOF regclass LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT DISTINCT f.rel FROM rowfs.family(top) f(rel), rowfs.triggers(kind) t
	 WHERE NOT EXISTS (
		SELECT FROM pg_trigger g JOIN pg_proc p ON p.oid = g.tgfoid
		 WHERE g.tgrelid = f.rel AND g.tgname = t.name AND g.tgenabled IN ('O', 'A')
		   AND p.pronamespace = 'rowfs'::regnamespace AND p.proname = rowfs.trigger_function(kind, top));
END;

-- True if none lacks any, and the text of their function is BODY.
CREATE FUNCTION rowfs.has_triggers(kind text, top regclass, body text) RETURNS boolean LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT NOT EXISTS (SELECT FROM rowfs.without_triggers(kind, top))
	   AND EXISTS (SELECT FROM pg_proc p WHERE p.pronamespace = 'rowfs'::regnamespace
	                  AND p.proname = rowfs.trigger_function(kind, top) AND p.prosrc = body);
END;

-- Makes the triggers of KIND on TOP's family, where they are not, and gives their function the text BODY, which was made
-- while TOP was locked: definitions may have come before. What rowfs sends by itself, with rowfs.daemon on, it counts
-- itself, and tells itself if the session is that of a mount that tells.
CREATE FUNCTION rowfs.make_triggers(kind text, top regclass, body text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	member regclass;
	t record;
	fn text := format('rowfs.%I', rowfs.trigger_function(kind, top));
	quiet text := format('WHEN (pg_catalog.current_setting(''rowfs.daemon'', true) IS DISTINCT FROM ''1''%s)',
		CASE WHEN kind = 'notice' THEN ' OR coalesce(pg_catalog.current_setting(''rowfs.mount'', true), '''') = ''''' END);
BEGIN
	EXECUTE format('CREATE OR REPLACE FUNCTION %s() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER '
		'SET search_path = pg_catalog, pg_temp SET "TimeZone" = ''UTC'' SET "DateStyle" = ''ISO, YMD'' '
		'SET "IntervalStyle" = ''postgres'' SET extra_float_digits = 1 SET bytea_output = ''hex'' AS %L', fn, body);
	EXECUTE format('REVOKE ALL ON FUNCTION %s() FROM PUBLIC', fn);
	FOR member IN SELECT * FROM rowfs.without_triggers(kind, top) LOOP
		FOR t IN SELECT * FROM rowfs.triggers(kind) LOOP
			EXECUTE format('CREATE OR REPLACE TRIGGER %I %s ON %s %s FOR EACH STATEMENT %s EXECUTE FUNCTION %s()',
				t.name, t.event, member, 'REFERENCING ' || t.rows, CASE WHEN t.rows IS NOT NULL THEN quiet END, fn);
		END LOOP;
	END LOOP;
END
$$;

-- Takes the triggers of KIND, or of all kinds, off TOP's family, or off every table; and removes the functions that are
-- called no more.
CREATE FUNCTION rowfs.drop_triggers(top regclass, kind text DEFAULT NULL) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	t record;
	functions text := format('^%s_[0-9]+$', coalesce(kind, '(watch|notice)'));
BEGIN
	FOR t IN SELECT g.tgname, g.tgrelid::regclass AS rel FROM pg_trigger g JOIN pg_proc p ON p.oid = g.tgfoid
	          WHERE p.pronamespace = 'rowfs'::regnamespace AND p.proname ~ functions
	            AND (top IS NULL OR g.tgrelid IN (SELECT rowfs.family(top))) LOOP
		EXECUTE format('DROP TRIGGER %I ON %s', t.tgname, t.rel);
	END LOOP;
	FOR t IN SELECT p.oid::regprocedure AS fn FROM pg_proc p
	          WHERE p.pronamespace = 'rowfs'::regnamespace AND p.proname ~ functions
	            AND NOT EXISTS (SELECT FROM pg_trigger g WHERE g.tgfoid = p.oid)
	            AND pg_has_role(p.proowner, 'USAGE') LOOP
		EXECUTE format('DROP FUNCTION %s', t.fn);
	END LOOP;
END
$$;

-- True if the triggers that count are what they must be.
CREATE FUNCTION rowfs.is_watched(top regclass) RETURNS boolean LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT rowfs.has_triggers('watch', top, rowfs.watch_body(top));
END;

-- Makes them so, on a table and all its partitions. To be called after partitions are made: DML that names a partition
-- fires only the partition's own.
CREATE FUNCTION rowfs.watch(rel regclass) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	top regclass := (SELECT to_regclass(s.relation) FROM rowfs.slices_of(rel) s LIMIT 1);
BEGIN
	IF top IS NOT NULL AND NOT rowfs.is_watched(top) THEN
		EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', top);
		PERFORM rowfs.make_triggers('watch', top, rowfs.watch_body(top));
	END IF;
END
$$;

-- True if rows arrive in the table as they were sent: no trigger, rule or policy can change or drop them.
CREATE FUNCTION rowfs.takes_rows_as_sent(top regclass) RETURNS boolean LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT NOT EXISTS (SELECT FROM rowfs.family(top) f(rel) JOIN pg_trigger t ON t.tgrelid = f.rel
	                     JOIN pg_proc p ON p.oid = t.tgfoid
	                    WHERE NOT t.tgisinternal AND p.pronamespace <> 'rowfs'::regnamespace)
	   AND NOT EXISTS (SELECT FROM rowfs.family(top) f(rel) JOIN pg_class c ON c.oid = f.rel
	                    WHERE c.relhasrules OR c.relrowsecurity);
END;

-- Removes all that rowfs.install() made for a table; mounts sum the rows then.
CREATE FUNCTION rowfs.unwatch(rel regclass) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	ids bigint[];
BEGIN
	EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', rel);
	PERFORM rowfs.drop_triggers(rel, 'watch');
	ids := ARRAY(SELECT id FROM rowfs.slice WHERE to_regclass(relation) = rel);
	DELETE FROM rowfs.slice WHERE id = ANY (ids);
	DELETE FROM rowfs.doubt WHERE slice = ANY (ids);
	DELETE FROM rowfs.delta WHERE slice = ANY (ids);
	DELETE FROM rowfs.summary WHERE slice = ANY (ids);
END
$$;

-- The first half of installing: the slices IDS of REL, as DEFINITIONS (a JSON array of objects with the columns
-- of rowfs.slice), and the triggers. Locks the table against writers until the end of the transaction. Returns
-- the slices that are to be built now: rowfs.build() for each part of the table, rowfs.built() at last.
CREATE FUNCTION rowfs.install(rel regclass, ids bigint[], definitions jsonb)
RETURNS SETOF bigint LANGUAGE plpgsql AS $$
DECLARE
	fresh bigint[];
	old bigint[];
	others bigint[];
BEGIN
	EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', rel);
	IF EXISTS (SELECT FROM pg_inherits i WHERE i.inhrelid = rel) THEN
		RAISE feature_not_supported USING
			MESSAGE = format('%s is a part of another table, whose statements do not tell it what they change', rel);
	END IF;
	-- definitions that no mount has asked for in a month
	old := ARRAY(SELECT id FROM rowfs.slice WHERE to_regclass(relation) = rel
	              AND used < now() - interval '30 days' AND id <> ALL (ids));
	DELETE FROM rowfs.slice WHERE id = ANY (old);
	INSERT INTO rowfs.slice (id, relation, groups, facts, keys, row_bytes, file_bytes)
		SELECT x.id, format('%I.%I', n.nspname, c.relname), x.groups, x.facts, x.keys, x.row_bytes, x.file_bytes
		  FROM jsonb_populate_recordset(NULL::rowfs.slice, definitions) x, pg_class c
		  JOIN pg_namespace n ON n.oid = c.relnamespace
		 WHERE c.oid = rel
		ON CONFLICT (id) DO UPDATE SET used = now(), relation = EXCLUDED.relation;
	fresh := ARRAY(SELECT id FROM rowfs.slice WHERE id = ANY (ids) AND NOT rowfs.is_true(id));
	IF EXISTS (SELECT FROM rowfs.without_triggers('watch', rel)) THEN
		-- rows may have come and gone that nobody counted
		others := ARRAY(SELECT id FROM rowfs.slice WHERE to_regclass(relation) = rel AND id <> ALL (ids));
		fresh := ids;
		UPDATE rowfs.slice SET built = false WHERE id = ANY (others);
	END IF;
	UPDATE rowfs.slice SET built = false WHERE id = ANY (fresh) AND built;
	DELETE FROM rowfs.doubt WHERE slice = ANY (fresh || old);
	DELETE FROM rowfs.delta WHERE slice = ANY (fresh || old);
	DELETE FROM rowfs.summary WHERE slice = ANY (fresh || old);
	PERFORM rowfs.watch(rel);
	RETURN QUERY SELECT unnest(fresh);
END
$$;

-- The parts of REL that hold rows, with their pages.
CREATE FUNCTION rowfs.parts(rel regclass) RETURNS TABLE (part regclass, pages bigint)
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT f.rel, pg_relation_size(f.rel::regclass) / current_setting('block_size')::bigint
	  FROM rowfs.family(rel) f(rel) JOIN pg_class c ON c.oid = f.rel WHERE c.relkind = 'r';
END;

-- Counts pages LOWER to UPPER - 1 of PART for a slice. LATEST is an expression for a row's time.
CREATE FUNCTION rowfs.build(one bigint, part regclass, latest text, lower bigint, upper bigint)
RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET "TimeZone" = 'UTC' SET "DateStyle" = 'ISO, YMD' SET "IntervalStyle" = 'postgres'
SET extra_float_digits = 1 SET bytea_output = 'hex' AS $$
DECLARE
	s rowfs.slice;
BEGIN
	SELECT * INTO STRICT s FROM rowfs.slice WHERE id = one;
	EXECUTE format('INSERT INTO rowfs.summary AS s %s ORDER BY 1, 2, 3, 4, 5 '
		'ON CONFLICT (slice, k1, k2, k3, k4) DO UPDATE SET rows = s.rows + EXCLUDED.rows, '
		'bytes = s.bytes + EXCLUDED.bytes, changed = greatest(s.changed, EXCLUDED.changed)',
		rowfs.counting(s, ARRAY[format('ONLY %s r WHERE r.ctid >= ''(%s,0)'' AND r.ctid < ''(%s,0)''',
			part, lower, upper)], '{1}', latest));
END
$$;

CREATE FUNCTION rowfs.built(ids bigint[]) RETURNS void LANGUAGE sql
BEGIN ATOMIC
	UPDATE rowfs.slice SET built = true WHERE id = ANY (ids);
END;

-- Brings what triggers have noted into the summary. One at a time; returns how many notes it were.
CREATE FUNCTION rowfs.fold() RETURNS bigint LANGUAGE plpgsql
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

COMMIT;
