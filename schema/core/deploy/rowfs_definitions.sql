-- Deploy rowfs_core:rowfs_definitions to pg
-- requires: rowfs_notify
--
-- Definitions are names of columns and foreign keys, not SQL. The functions below check them against the catalog and are the only ones
-- that make SQL of them: what is in a row of rowfs.slice or rowfs.notice cannot run with the rights of a table's owner.

BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp;

-- A mount of the version before would go on to trust triggers that are removed here. Anybody may hold such a lock: it
-- counts if his role may read rowfs.notice, or may become one that does (as in rowfs_proof, and in schema/peers.c).
DO $$ BEGIN
	IF EXISTS (SELECT FROM rowfs.notice) AND EXISTS (
		SELECT FROM pg_locks l LEFT JOIN pg_stat_get_activity(NULL) a ON a.pid = l.pid
		 WHERE l.locktype = 'advisory' AND l.classid = 1919316737 AND l.objsubid = 2 AND l.granted
		   AND l.mode = 'ShareLock' AND l.pid IS NOT NULL
		   AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
		   AND (a.usesysid IS NULL OR EXISTS (
			SELECT FROM pg_roles r WHERE pg_has_role(a.usesysid, r.oid, 'MEMBER')
			   AND has_table_privilege(r.oid, 'rowfs.notice', 'SELECT'))))
	THEN
		RAISE object_in_use USING MESSAGE = 'this database is mounted: unmount it first, and mount it again after the upgrade';
	END IF;
END $$;

-- Triggers and definitions are made anew by the next mount of the tables' owner, or by rowfs check: what is there may have been made of
-- SQL that another role has written.
SELECT rowfs.drop_triggers(NULL);
DELETE FROM rowfs.notice;
DELETE FROM rowfs.slice;
DELETE FROM rowfs.summary;
DELETE FROM rowfs.delta;
DELETE FROM rowfs.doubt;

DROP FUNCTION rowfs.tell(regclass, bigint[], jsonb), rowfs.counting(rowfs.slice, text[], int[], text, boolean),
	rowfs.slices_of(regclass), rowfs.notify_all(regclass), rowfs.notice_nothing(regclass), rowfs.notices_of(regclass);

-- What a rows file is, seen from its table: see schema/slice.h.
ALTER TABLE rowfs.slice
	DROP COLUMN groups, DROP COLUMN facts, DROP COLUMN keys, DROP COLUMN row_bytes, DROP COLUMN file_bytes,
	ADD COLUMN csv     boolean NOT NULL, -- else JSON Lines
	ADD COLUMN columns text[] NOT NULL,  -- of a line
	ADD COLUMN keys    text[] NOT NULL,  -- columns that name the file
	ADD COLUMN units   text[] NOT NULL,  -- of each: s, ms, us, ns, or NULL
	ADD COLUMN formats text[] NOT NULL;  -- of each: a time bucket as in a layout, or NULL

-- What mounts want to be told of a table. A key is an object: the "column", with "unit" and "format" if it is a time bucket, and the "way"
-- to its table, a list of foreign keys: each the "schema" and "table" that it leads to, its "columns", and the "references" there.
ALTER TABLE rowfs.notice ALTER COLUMN keys TYPE jsonb USING '[]';

-- Only the owner writes them.
DO $$
DECLARE
	g record;
BEGIN
	FOR g IN SELECT DISTINCT c.oid::regclass AS rel, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END AS grantee
	           FROM pg_class c, aclexplode(c.relacl) a
	          WHERE c.oid IN ('rowfs.slice'::regclass, 'rowfs.notice'::regclass) AND a.grantee <> c.relowner LOOP
		EXECUTE format('REVOKE INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER ON %s FROM %s CASCADE', g.rel, g.grantee);
	END LOOP;
END $$;

-- What a mount's role needs besides the tables that it serves.
CREATE FUNCTION rowfs.allow(role regrole) RETURNS void LANGUAGE plpgsql
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

-- -- from names to SQL ----------------------------------------------------------------------------

CREATE FUNCTION rowfs.full_name(rel regclass) RETURNS text LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = rel;
END;

-- The type of a column below any domain; NULL if there is no such column.
CREATE FUNCTION rowfs.column_type(rel regclass, name text, OUT base text, OUT category "char", OUT kind "char")
LANGUAGE plpgsql STABLE AS $$
DECLARE
	t oid := (SELECT a.atttypid FROM pg_attribute a
	           WHERE a.attrelid = rel AND a.attname = name AND a.attnum > 0 AND NOT a.attisdropped);
	below oid := t;
BEGIN
	WHILE below <> 0 LOOP
		t := below;
		SELECT y.typbasetype, y.typcategory, y.typtype INTO below, category, kind FROM pg_type y WHERE y.oid = t;
	END LOOP;
	base := format_type(t, -1);
END
$$;

-- Types of which equal values have one text, whichever of two columns they stand in.
CREATE FUNCTION rowfs.has_one_text(base text) RETURNS boolean LANGUAGE sql IMMUTABLE
BEGIN ATOMIC
	SELECT base IN ('smallint', 'integer', 'bigint', 'uuid', 'text', 'character varying', 'date', 'boolean');
END;

-- "%Y-%m-%d" as to_char writes it: other text stands in quotes.
CREATE FUNCTION rowfs.time_format(format text) RETURNS text LANGUAGE sql IMMUTABLE
BEGIN ATOMIC
	SELECT string_agg(CASE m[1] WHEN '%Y' THEN 'YYYY' WHEN '%m' THEN 'MM' WHEN '%d' THEN 'DD' WHEN '%H' THEN 'HH24'
	                  WHEN '%M' THEN 'MI' WHEN '%S' THEN 'SS'
	                  ELSE '"' || regexp_replace(m[1], '(["\\])', '\\\1', 'g') || '"' END, '' ORDER BY at)
	  FROM regexp_matches(format, '%[YmdHMS]|[^%]+', 'g') WITH ORDINALITY x(m, at);
END;

-- What one of UNIT's units is as an interval, and how many are a second. NULL for a unit that is none.
CREATE FUNCTION rowfs.unit(unit text) RETURNS TABLE (name text, per_second numeric) LANGUAGE sql IMMUTABLE
BEGIN ATOMIC
	SELECT v.name, v.per FROM (VALUES ('s', 'second', 1), ('ms', 'millisecond', 1000), ('us', 'microsecond', 1000000),
		('ns', 'microsecond', 1000000000)) v(unit, name, per) WHERE v.unit = unit.unit;
END;

-- The text of a key: of the column REF (quoted, with its alias), or of the time bucket that it falls in. Numbers beyond the years 1 to
-- 9999 are in none, and must not be in the way of the others.
CREATE FUNCTION rowfs.key_text(ref text, unit text, format text) RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
	u record;
BEGIN
	IF format IS NULL THEN
		RETURN ref || '::text';
	ELSIF unit IS NULL THEN
		RETURN format('to_char(%s::timestamp, %L)', ref, rowfs.time_format(format));
	END IF;
	SELECT * INTO u FROM rowfs.unit(unit);
	-- ns: downwards for years before 1970, too
	RETURN format('CASE WHEN %1$s BETWEEN -62135596800 * %2$s::numeric AND 253402300799 * %2$s::numeric '
		'THEN to_char(timestamp ''epoch'' + %3$s * interval %4$L, %5$L) END', ref, u.per_second,
		CASE unit WHEN 'ns' THEN format('(%1$s / 1000 - (%1$s %% 1000 < 0)::int)', ref) ELSE ref END,
		'1 ' || u.name, rowfs.time_format(format));
END
$$;

-- What rows are grouped by for a key: its value, a time bucket that is no wider than its own, or its text.
CREATE FUNCTION rowfs.key_group(ref text, base text, unit text, format text) RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
	part text := CASE WHEN format LIKE '%\%S%' THEN 'second' WHEN format LIKE '%\%M%' THEN 'minute'
	                  WHEN format LIKE '%\%H%' THEN 'hour' ELSE 'day' END;
	width numeric := CASE part WHEN 'second' THEN 1 WHEN 'minute' THEN 60 WHEN 'hour' THEN 3600 ELSE 86400 END;
BEGIN
	IF format IS NULL AND NOT rowfs.has_one_text(base) THEN
		RETURN rowfs.key_text(ref, NULL, NULL);
	ELSIF format IS NULL THEN
		-- a collation may call texts equal that differ
		RETURN ref || CASE WHEN base IN ('text', 'character varying') THEN ' COLLATE "C"' ELSE '' END;
	ELSIF unit IS NULL THEN
		RETURN format('date_trunc(%L, %s::timestamp)', part, ref);
	END IF;
	-- downwards for years before 1970, too
	RETURN format('CASE WHEN %1$s >= 0 THEN %1$s / %2$s ELSE (%1$s + 1) / %2$s - 1 END', ref,
		width * (SELECT u.per_second FROM rowfs.unit(unit) u));
END
$$;

-- A field of a line of CSV. Numbers, times and uuids never need quotes.
CREATE FUNCTION rowfs.csv_field(ref text, base text, category "char", kind "char") RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
	field text := CASE WHEN base = 'numeric' THEN 'trim_scale(' || ref || ')' ELSE ref END || '::text';
BEGIN
	IF kind = 'b' AND base <> 'money' AND (category IN ('N', 'B', 'D') OR base = 'uuid') THEN
		RETURN format('coalesce(%s, '''')', field);
	END IF;
	RETURN format($f$coalesce(CASE WHEN %1$s = '' OR %1$s ~ E'[",\r\n]' THEN '"' || replace(%1$s, '"', '""') || '"' ELSE %1$s END, '')$f$,
		field);
END
$$;

-- How the rows of a slice are counted, in two steps, so that each row costs little: first by groups, then a file's name and what all its
-- lines have in common are made once for each group.
CREATE TYPE rowfs.expressions AS (
	groups     text[], -- over the row r, one a key: rows that agree in all are in one file
	facts      text[], -- over the row r: what key 1 is made of, g.g1, is the least of a group's
	keys       text[], -- over the group g: the file's name
	row_bytes  text,   -- over the row r: bytes of its line, newline and all, without the next
	file_bytes text    -- over the group g: bytes that each of its lines has besides
);

-- NULL if the table has not all the columns, or a unit or format is none.
CREATE FUNCTION rowfs.expressions_of(s rowfs.slice) RETURNS rowfs.expressions LANGUAGE plpgsql STABLE AS $$
DECLARE
	rel regclass := to_regclass(s.relation);
	e rowfs.expressions;
	t record;
	same int;
	-- files are UTF-8; convert_to() would copy the text even if there is nothing to convert
	bytes text := CASE WHEN getdatabaseencoding() IN ('UTF8', 'SQL_ASCII') THEN 'octet_length(%s)' ELSE 'octet_length(convert_to(%s, ''UTF8''))' END;
BEGIN
	IF rel IS NULL OR s.csv IS NULL OR cardinality(s.columns) = 0 OR cardinality(s.columns) IS NULL OR cardinality(s.keys) > 4
	   OR cardinality(s.units) IS DISTINCT FROM cardinality(s.keys) OR cardinality(s.formats) IS DISTINCT FROM cardinality(s.keys) THEN
		RETURN NULL;
	END IF;
	e.groups := '{}'; e.facts := '{}'; e.keys := '{}';
	FOR i IN 1..cardinality(s.keys) LOOP
		SELECT * INTO t FROM rowfs.column_type(rel, s.keys[i]);
		IF t.base IS NULL OR NOT rowfs.is_bucket(s.units[i], s.formats[i]) THEN
			RETURN NULL;
		END IF;
		e.groups := e.groups || rowfs.key_group(format('r.%I', s.keys[i]), t.base, s.units[i], s.formats[i]);
		e.facts := e.facts || CASE WHEN s.formats[i] IS NULL THEN e.groups[i] ELSE format('r.%I', s.keys[i]) END;
		e.keys := e.keys || rowfs.key_text('g.g' || i, s.units[i], s.formats[i]);
	END LOOP;
	-- the newline, and in CSV the commas
	e.row_bytes := '0';
	e.file_bytes := CASE WHEN s.csv THEN cardinality(s.columns) ELSE 1 END;
	FOR i IN 1..cardinality(s.columns) LOOP
		SELECT * INTO t FROM rowfs.column_type(rel, s.columns[i]);
		IF t.base IS NULL THEN
			RETURN NULL;
		END IF;
		-- a key that has all of the column's text
		same := (SELECT min(k) FROM generate_subscripts(s.keys, 1) k
		          WHERE s.keys[k] = s.columns[i] AND s.formats[k] IS NULL AND rowfs.has_one_text(t.base));
		IF s.csv AND same IS NOT NULL THEN
			e.file_bytes := e.file_bytes || format(' + ' || bytes, rowfs.csv_field('g.g' || same, t.base, t.category, t.kind));
		ELSIF s.csv THEN
			e.row_bytes := e.row_bytes || format(' + ' || bytes,
				rowfs.csv_field(format('r.%I', s.columns[i]), t.base, t.category, t.kind));
		END IF;
	END LOOP;
	IF NOT s.csv THEN
		e.row_bytes := format(bytes, format('(SELECT row_to_json(x.*)::text FROM (SELECT %s) x)',
			(SELECT string_agg(format('r.%I', c), ', ' ORDER BY at) FROM unnest(s.columns) WITH ORDINALITY x(c, at))));
	END IF;
	RETURN e;
END
$$;

-- True for no bucket, and for one whose unit and format mean something.
CREATE FUNCTION rowfs.is_bucket(unit text, format text) RETURNS boolean LANGUAGE sql IMMUTABLE
BEGIN ATOMIC
	SELECT (unit IS NULL OR (format IS NOT NULL AND EXISTS (SELECT FROM rowfs.unit(unit))))
	   AND coalesce(format ~ '^([^%]|%[YmdHMS])+$' AND position('%Y' IN format) > 0, true);
END;

-- The text of a key of TOP's row r; NULL if a column or foreign key is not there.
CREATE FUNCTION rowfs.notice_text(top regclass, key jsonb) RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
	step jsonb;
	rel regclass := top;
	parent regclass;
	ref text := 'r';
	tables text := '';
	conditions text := '';
	columns text[];
	refs text[];
	n int := 0;
BEGIN
	FOR step IN SELECT jsonb_array_elements(coalesce(key -> 'way', '[]')) LOOP
		n := n + 1;
		parent := (SELECT c.oid FROM pg_class c JOIN pg_namespace s ON s.oid = c.relnamespace
		            WHERE s.nspname = step ->> 'schema' AND c.relname = step ->> 'table');
		columns := ARRAY(SELECT jsonb_array_elements_text(step -> 'columns'));
		refs := ARRAY(SELECT jsonb_array_elements_text(step -> 'references'));
		IF n > 32 OR parent IS NULL OR NOT EXISTS (
			SELECT FROM pg_constraint f WHERE f.contype = 'f' AND f.conrelid = rel AND f.confrelid = parent
			   AND columns = ARRAY(SELECT a.attname::text FROM unnest(f.conkey) WITH ORDINALITY k(num, at)
			                         JOIN pg_attribute a ON a.attrelid = rel AND a.attnum = k.num ORDER BY k.at)
			   AND refs = ARRAY(SELECT a.attname::text FROM unnest(f.confkey) WITH ORDINALITY k(num, at)
			                      JOIN pg_attribute a ON a.attrelid = parent AND a.attnum = k.num ORDER BY k.at))
		THEN
			RETURN NULL;
		END IF;
		tables := tables || CASE WHEN n > 1 THEN ', ' ELSE '' END || format('%s p%s', rowfs.full_name(parent), n);
		FOR i IN 1..cardinality(columns) LOOP
			conditions := conditions || format('%sp%s.%I = %s.%I', CASE WHEN conditions <> '' THEN ' AND ' END, n, refs[i], ref, columns[i]);
		END LOOP;
		rel := parent;
		ref := 'p' || n;
	END LOOP;
	IF (rowfs.column_type(rel, key ->> 'column')).base IS NULL OR NOT rowfs.is_bucket(key ->> 'unit', key ->> 'format') THEN
		RETURN NULL;
	END IF;
	ref := rowfs.key_text(format('%s.%I', ref, key ->> 'column'), key ->> 'unit', key ->> 'format');
	RETURN CASE WHEN n > 0 THEN format('(SELECT %s FROM %s WHERE %s)', ref, tables, conditions) ELSE ref END;
END
$$;

-- The texts of all keys of a definition; NULL if one of them is not there.
CREATE FUNCTION rowfs.notice_texts(n rowfs.notice) RETURNS text[] LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT CASE WHEN array_position(x.texts, NULL) IS NULL THEN x.texts END
	  FROM (SELECT ARRAY(SELECT rowfs.notice_text(to_regclass(n.relation), k.key)
	                       FROM jsonb_array_elements(n.keys) WITH ORDINALITY k(key, at) ORDER BY k.at) AS texts) x;
END;

-- -- counting -------------------------------------------------------------------------------------

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

-- SELECT that sums, for slice ID, the rows of each of SOURCES ("fresh r", "ONLY t r"), counted SIGNS times.
-- The columns are those of rowfs.summary; LATEST is an expression over r for a row's time, or NULL. ALONE: each of
-- SOURCES has one row, and nothing need be gathered. NULL if the definition does not fit the table any more.
CREATE FUNCTION rowfs.counting(id bigint, e rowfs.expressions, sources text[], signs int[], latest text, alone boolean DEFAULT false)
RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
	keys text := '';
	known text := 'true';
	facts text := '';
	grouped text := '';
	parts text[] := '{}';
BEGIN
	IF e IS NULL THEN
		RETURN NULL;
	END IF;
	FOR i IN 1..4 LOOP
		keys := keys || format('(%s) COLLATE "C" AS k%s, ', coalesce(e.keys[i], '''''::text'), i);
	END LOOP;
	FOR i IN 1..cardinality(e.keys) LOOP
		known := known || format(' AND x.k%s IS NOT NULL', i);
		facts := facts || format(CASE WHEN alone OR e.facts[i] = e.groups[i] THEN '%s' ELSE 'min(%s)' END || ' AS g%s, ',
			e.facts[i], i);
		grouped := grouped || CASE WHEN i > 1 THEN ', ' ELSE 'GROUP BY ' END || e.groups[i];
	END LOOP;
	FOR i IN 1..cardinality(sources) LOOP
		parts := parts || format('SELECT %s%s * g.n AS n, %s * (g.b + g.n * (%s)) AS b, g.t FROM '
			'(SELECT %s' || CASE WHEN alone THEN '1 AS n, %s AS b, %s AS t FROM %s OFFSET 0'
			ELSE 'count(*) AS n, sum(%s) AS b, %s AS t FROM %s %s HAVING count(*) > 0' END || ') g',
			keys, signs[i], signs[i], e.file_bytes, facts, e.row_bytes,
			coalesce('max(' || latest || ')', 'NULL::timestamptz'), sources[i], grouped);
	END LOOP;
	IF alone AND cardinality(sources) = 1 THEN
		RETURN format('SELECT %s::bigint AS slice, x.k1, x.k2, x.k3, x.k4, x.n AS rows, x.b AS bytes, '
			'clock_timestamp() AS changed FROM (%s) x WHERE %s', id, parts[1], known);
	END IF;
	RETURN format('SELECT %s::bigint AS slice, x.k1, x.k2, x.k3, x.k4, sum(x.n)::bigint AS rows, '
		'sum(x.b)::bigint AS bytes, coalesce(max(x.t), clock_timestamp()) AS changed '
		'FROM (%s) x WHERE %s GROUP BY x.k1, x.k2, x.k3, x.k4',
		id, array_to_string(parts, ' UNION ALL '), known);
END
$$;

CREATE FUNCTION rowfs.counting(s rowfs.slice, sources text[], signs int[], latest text) RETURNS text LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT rowfs.counting(s.id, rowfs.expressions_of(s), sources, signs, latest);
END;

-- The text of the trigger function of TOP, made of all its slices. Most statements change one row: they are spared what
-- gathers many. An UPDATE is measured by the rows that it takes away: not all of them arrive where another partition's
-- trigger drops them. A mistake (a column that is gone) must not break the writer's statement: the slice is in doubt then.
CREATE OR REPLACE FUNCTION rowfs.watch_body(top regclass) RETURNS text LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	s rowfs.slice;
	e rowfs.expressions;
	body text := E'DECLARE one bigint; found int;\nBEGIN\n';
	name text := CASE WHEN (SELECT relkind FROM pg_class WHERE oid = top) = 'p' THEN top::oid::text ELSE '' END;
BEGIN
	body := body || format(E'IF TG_OP = ''TRUNCATE'' AND TG_WHEN = ''AFTER'' THEN\n'
		'	PERFORM set_config(''rowfs.truncated'', '''', true); RETURN NULL;\n'
		'ELSIF TG_OP = ''INSERT'' THEN\n	SELECT count(*) INTO found FROM (SELECT FROM fresh LIMIT 2) x;\n'
		'ELSIF TG_OP <> ''TRUNCATE'' THEN\n	SELECT count(*) INTO found FROM (SELECT FROM stale LIMIT 2) x;\n'
		'END IF;\nIF found = 0 THEN\n	RETURN NULL;\nEND IF;\n');
	FOR s IN SELECT * FROM rowfs.slices_of(top) LOOP
		e := rowfs.expressions_of(s);
		IF e IS NULL THEN
			body := body || format(E'INSERT INTO rowfs.doubt (slice, why) SELECT %1$s, ''a column that is gone''\n'
				' WHERE NOT EXISTS (SELECT FROM rowfs.doubt d WHERE d.slice = %1$s);\n', s.id);
			CONTINUE;
		END IF;
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
			rowfs.counting(s.id, e, '{fresh r}', '{1}', NULL),
			rowfs.counting(s.id, e, '{stale r}', '{-1}', NULL),
			rowfs.counting(s.id, e, '{fresh r,stale r}', '{1,-1}', NULL),
			top::oid, name,
			rowfs.counting(s.id, e, '{fresh r}', '{1}', NULL, true),
			rowfs.counting(s.id, e, '{stale r}', '{-1}', NULL, true),
			rowfs.counting(s.id, e, '{fresh r,stale r}', '{1,-1}', NULL, true));
	END LOOP;
	RETURN body || format(E'IF TG_OP = ''TRUNCATE'' AND TG_RELID::text = %L THEN\n'
		'	PERFORM set_config(''rowfs.truncated'', TG_RELID::text, true);\nEND IF;\nRETURN NULL;\nEND',
		name);
END
$$;

-- The first half of installing: the slices IDS of REL, as DEFINITIONS (a JSON array of objects with the columns
-- of rowfs.slice), and the triggers. Locks the table against writers until the end of the transaction. Returns
-- the slices that are to be built now: rowfs.build() for each part of the table, rowfs.built() at last.
CREATE OR REPLACE FUNCTION rowfs.install(rel regclass, ids bigint[], definitions jsonb)
RETURNS SETOF bigint LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	fresh bigint[];
	old bigint[];
	others bigint[];
	s rowfs.slice;
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
	FOR s IN SELECT x.* FROM jsonb_populate_recordset(NULL::rowfs.slice, definitions) x LOOP
		s.relation := rowfs.full_name(rel);
		IF rowfs.expressions_of(s) IS NULL THEN
			RAISE undefined_column USING
				MESSAGE = format('%s has no such columns: %s', rel, to_jsonb(s) - '{id,relation,built,used}'::text[]);
		END IF;
	END LOOP;
	INSERT INTO rowfs.slice (id, relation, csv, columns, keys, units, formats)
		SELECT x.id, rowfs.full_name(rel), x.csv, x.columns, x.keys, x.units, x.formats
		  FROM jsonb_populate_recordset(NULL::rowfs.slice, definitions) x
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

-- -- notices --------------------------------------------------------------------------------------

-- The definitions of a table: its own, or those of the table that it is a partition of.
CREATE FUNCTION rowfs.notices_of(rel regclass) RETURNS SETOF rowfs.notice LANGUAGE sql STABLE
BEGIN ATOMIC
	WITH RECURSIVE up(rel) AS (
		SELECT rel::oid
		UNION
		SELECT i.inhparent FROM up JOIN pg_inherits i ON i.inhrelid = up.rel
	)
	SELECT n.* FROM rowfs.notice n JOIN up ON to_regclass(n.relation) = up.rel::regclass
	 ORDER BY n.id;
END;

-- All definitions of REL, without keys.
CREATE FUNCTION rowfs.notice_nothing(rel regclass) RETURNS text LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT string_agg(format('"%s": null', n.id), ', ') FROM rowfs.notices_of(rel) n;
END;

-- Tells all mounts that anything in a table may have changed. To be called after what triggers do not see: partitions
-- that come or go with rows in them, a materialized view that is refreshed.
CREATE FUNCTION rowfs.notify_all(rel regclass) RETURNS void LANGUAGE sql
BEGIN ATOMIC
	SELECT rowfs.send_notice(x, x) FROM rowfs.notice_nothing(rel) x WHERE x IS NOT NULL;
END;

-- SELECT over the rows of the transition table %1$s, ending with %2$s: p identifies a row, t1, t2 ... are its keys by each of TOP's
-- definitions that fit it, as text of a JSON array. What several definitions have in common is worked out once.
CREATE OR REPLACE FUNCTION rowfs.notice_source(top regclass) RETURNS text LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	n rowfs.notice;
	known text[] := ARRAY(SELECT DISTINCT unnest(rowfs.notice_texts(x)) COLLATE "C" FROM rowfs.notices_of(top) x ORDER BY 1);
	columns text := rowfs.notice_identity(top) || ' AS p';
	tuples text := 'x.p';
	i int := 0;
BEGIN
	FOR k IN 1..cardinality(known) LOOP
		columns := columns || format(', %s AS x%s', known[k], k);
	END LOOP;
	FOR n IN SELECT * FROM rowfs.notices_of(top) LOOP
		CONTINUE WHEN rowfs.notice_texts(n) IS NULL;
		i := i + 1;
		tuples := tuples || format(', json_build_array(%s)::text AS t%s', (
			SELECT string_agg('x.x' || array_position(known, u.key), ', ' ORDER BY u.at)
			  FROM unnest(rowfs.notice_texts(n)) WITH ORDINALITY u(key, at)), i);
	END LOOP;
	-- a subquery with OFFSET or LIMIT is not taken apart, and its columns are not worked out anew where they are used
	RETURN 'SELECT ' || tuples || ' FROM (SELECT ' || replace(columns, '%', '%%') || ' FROM %1$s r OFFSET 0) x %2$s';
END
$$;

-- The text of the trigger function of TOP, made of all its definitions. Most statements change one row, so they have a
-- query of their own, which sorts and gathers nothing. An UPDATE is measured by the rows that it takes away: not all of
-- them arrive where another partition's trigger drops them. To look at more than a thousand rows would cost a COPY too much: the
-- whole table is named. A mistake (a column that is gone) must not break the writer's statement: mounts are told that
-- anything may have changed.
CREATE OR REPLACE FUNCTION rowfs.notice_body(top regclass) RETURNS text LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	source text := rowfs.notice_source(top);
	fresh text := format(source, 'fresh', 'OFFSET 0');
	stale text := format(source, 'stale', 'OFFSET 0');
	-- LIMIT: the planner need not think of what many rows would cost
	one_fresh text := format(source, 'fresh', 'LIMIT 1');
	one_stale text := format(source, 'stale', 'LIMIT 1');
	-- for each definition, what is told of: a row that came or went, one that changed, rows that came or went, rows that changed
	one_row text := quote_literal('');
	one_pair text := quote_literal('');
	more_rows text := quote_literal('');
	more_pairs text := quote_literal('');
	i int := 0;
	total int := 0;
	n rowfs.notice;
	id text;
BEGIN
	FOR n IN SELECT * FROM rowfs.notices_of(top) LOOP
		total := total + 1;
		id := format('%s"%s": ', CASE WHEN total > 1 THEN ', ' END, n.id);
		IF rowfs.notice_texts(n) IS NULL THEN
			-- its columns are gone: anything may have changed
			id := format(' || %L', id || 'null');
			one_row := one_row || id;
			one_pair := one_pair || id;
			more_rows := more_rows || id;
			more_pairs := more_pairs || id;
			CONTINUE;
		END IF;
		i := i + 1;
		one_row := one_row || format($f$ || '%s{"n": [' || n.t%s || ']}'$f$, id, i);
		one_pair := one_pair || format($f$ || '%1$s' || CASE
			WHEN o.t%2$s <> n.t%2$s THEN '{"n": [' || o.t%2$s || ', '
			WHEN o.p *= n.p THEN '{"c": [' ELSE '{"n": [' END || n.t%2$s || ']}'$f$, id, i);
		more_rows := more_rows || format($f$ || '%s' || (SELECT rowfs.notice_keys(array_agg(k.t), NULL)
			FROM (SELECT DISTINCT n.t%s AS t FROM n) k)$f$, id, i);
		more_pairs := more_pairs || format($f$ || '%1$s' || (SELECT rowfs.notice_keys(
			array_agg(k.t) FILTER (WHERE k.moved), array_agg(k.t) FILTER (WHERE NOT k.moved))
			FROM (SELECT p.t, bool_or(p.more <> 0) AS moved
				FROM (SELECT n.t%2$s AS t, sum(n.sign) AS more FROM n GROUP BY n.t%2$s, n.p::text) p GROUP BY p.t) k)$f$,
			id, i);
	END LOOP;
	RETURN format($f$DECLARE
	what text;
	found int;
BEGIN
BEGIN
	IF TG_OP = 'INSERT' THEN
		SELECT %1$s INTO what FROM (%8$s) n WHERE NOT EXISTS (SELECT FROM fresh OFFSET 1);
	ELSIF TG_OP = 'UPDATE' THEN
		SELECT %2$s INTO what FROM (%9$s) o, (%8$s) n WHERE NOT EXISTS (SELECT FROM stale OFFSET 1);
	ELSIF TG_OP = 'DELETE' THEN
		SELECT %1$s INTO what FROM (%9$s) n WHERE NOT EXISTS (SELECT FROM stale OFFSET 1);
	END IF;
	IF what IS NULL AND TG_OP = 'INSERT' THEN
		SELECT count(*) INTO found FROM (SELECT FROM fresh LIMIT 1001) x;
	ELSIF what IS NULL AND TG_OP <> 'TRUNCATE' THEN
		SELECT count(*) INTO found FROM (SELECT FROM stale LIMIT 1001) x;
	END IF;
	IF found = 0 THEN
		RETURN NULL;
	ELSIF found <= 1000 AND TG_OP = 'INSERT' THEN
		WITH n AS MATERIALIZED (%5$s) SELECT %3$s INTO what;
	ELSIF found <= 1000 AND TG_OP = 'UPDATE' THEN
		WITH n AS MATERIALIZED (SELECT 1 AS sign, x.* FROM (%5$s) x UNION ALL SELECT -1, x.* FROM (%6$s) x)
		SELECT %4$s INTO what;
	ELSIF found <= 1000 THEN
		WITH n AS MATERIALIZED (%6$s) SELECT %3$s INTO what;
	END IF;
EXCEPTION WHEN OTHERS THEN
	what := NULL;
	RAISE WARNING 'rowfs: %%: mounts forget all they know of it with each statement, until it is mounted anew: %%',
		TG_RELID::regclass, SQLERRM;
END;
	PERFORM rowfs.send_notice(coalesce(what, %7$L), %7$L);
	RETURN NULL;
END$f$, one_row, one_pair, more_rows, more_pairs, fresh, stale, rowfs.notice_nothing(top),
		one_fresh, one_stale);
END
$$;

-- Adds DEFINITIONS of REL, a JSON array of objects with "id" and "keys", and makes the triggers. Locks the table against writers until
-- the end of the transaction, where there is something to make.
CREATE FUNCTION rowfs.tell(rel regclass, definitions jsonb) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	ids bigint[] := ARRAY(SELECT (d ->> 'id')::bigint FROM jsonb_array_elements(definitions) d);
	key jsonb;
BEGIN
	FOR key IN SELECT jsonb_array_elements(d -> 'keys') FROM jsonb_array_elements(definitions) d LOOP
		IF rowfs.notice_text(rel, key) IS NULL THEN
			RAISE undefined_column USING MESSAGE = format('%s has no such column or foreign key: %s', rel, key);
		END IF;
	END LOOP;
	IF EXISTS (SELECT FROM pg_inherits i WHERE i.inhrelid = rel) THEN
		RAISE feature_not_supported USING
			MESSAGE = format('%s is a part of another table, whose statements do not tell it what they change', rel);
	END IF;
	EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', rel);
	-- definitions that no mount has asked for in a month
	DELETE FROM rowfs.notice WHERE to_regclass(relation) = rel AND used < now() - interval '30 days' AND id <> ALL (ids);
	INSERT INTO rowfs.notice (id, relation, keys)
		SELECT (d ->> 'id')::bigint, rowfs.full_name(rel), d -> 'keys' FROM jsonb_array_elements(definitions) d
		ON CONFLICT (id) DO UPDATE SET used = now(), relation = EXCLUDED.relation;
	PERFORM rowfs.tell(rel);
END
$$;

-- Names in the functions' texts mean what they meant here, whatever search path and tables of his own a caller has.
DO $$
DECLARE
	fn regprocedure;
BEGIN
	FOR fn IN SELECT p.oid FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
	           WHERE p.pronamespace = 'rowfs'::regnamespace AND l.lanname = 'plpgsql' AND p.prorettype <> 'trigger'::regtype
	             AND p.provolatile = 'v' AND p.proname <> 'send_notice' AND NOT EXISTS (SELECT FROM unnest(p.proconfig) c WHERE c LIKE 'search_path=%') LOOP
		EXECUTE format('ALTER FUNCTION %s SET search_path = pg_catalog, pg_temp', fn);
	END LOOP;
END $$;

COMMIT;
