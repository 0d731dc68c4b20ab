-- Deploy rowfs_core:rowfs_packs to pg
-- requires: rowfs_file_policies
--
-- How a pack's deploy script takes over what is there: docs/PACKS.md. A script calls pack_begin(),
-- make() for each object, and pack_end(). Each statement runs first in a scratch schema, to learn
-- what it makes; PostgreSQL then describes the copy and what is there in the same words.

BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp;

-- Written by the owner of this schema only.
CREATE TABLE rowfs.object (
	pack     text NOT NULL,
	n        integer NOT NULL,  -- made in this order, removed in the opposite one
	type     text NOT NULL,     -- type and identity as pg_identify_object() gives them: names are
	identity text NOT NULL,     -- true after a dump and restore, too
	made     boolean NOT NULL,  -- the pack has made it; else it was there, or could not be made
	wanted   jsonb NOT NULL,    -- describe() of what the pack makes, with its statement ("sql")
	promise  text,              -- what rests on it
	differs  text[],            -- sentences without a subject: "is not there"; NULL: nothing differs
	before   text,              -- the definition that replace() has replaced
	PRIMARY KEY (pack, n),
	UNIQUE (pack, type, identity)
);
COMMENT ON TABLE rowfs.object IS 'What packs want, whether they have made it, and what differs';

-- -- rights --------------------------------------------------------------------------------------

-- What a mount's role needs besides the tables that it serves. What mounts write is named here:
-- other tables in this schema (what packs have made, sqitch's own) are the owner's.
CREATE OR REPLACE FUNCTION rowfs.allow(role regrole) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	rel record;
BEGIN
	EXECUTE format('GRANT USAGE ON SCHEMA rowfs TO %s', role);
	FOR rel IN SELECT c.oid::regclass AS name, CASE
	                  WHEN c.relname IN ('applied', 'stream', 'summary', 'file', 'chunk', 'file_rows')
	                  THEN 'INSERT, UPDATE, DELETE'
	                  WHEN c.relname IN ('delta', 'doubt') THEN 'INSERT' END AS writes
	             FROM pg_class c
	            WHERE c.relnamespace = 'rowfs'::regnamespace AND c.relkind IN ('r', 'p')
	              AND c.relname <> 'mutex' LOOP
		EXECUTE format('GRANT SELECT ON %s TO %s', rel.name, role);
		EXECUTE format('REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON %s FROM %s', rel.name, role);
		IF rel.writes IS NOT NULL THEN
			EXECUTE format('GRANT %s ON %s TO %s', rel.writes, rel.name, role);
		END IF;
	END LOOP;
END
$$;

-- What allow() has given before on sqitch's tables, where they are in this schema. Roles of mounts
-- read what is deployed, and what packs want.
DO $$
DECLARE
	grantee text;
	rel regclass;
BEGIN
	FOR rel IN SELECT c.oid FROM pg_class c
	            WHERE c.relnamespace = 'rowfs'::regnamespace AND c.relkind = 'r' AND c.relname IN
	                  ('changes', 'dependencies', 'events', 'projects', 'releases', 'tags', 'object')
	LOOP
		FOR grantee IN SELECT DISTINCT CASE a.grantee WHEN 0 THEN 'PUBLIC'
		                      ELSE a.grantee::regrole::text END
		                 FROM pg_class c, aclexplode(c.relacl) a
		                WHERE c.oid = rel AND a.grantee <> c.relowner LOOP
			EXECUTE format('REVOKE INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER ON %s FROM %s',
				rel, grantee);
		END LOOP;
		FOR grantee IN SELECT a.grantee::regrole FROM pg_class c, aclexplode(c.relacl) a
		                WHERE c.oid = 'rowfs.secret'::regclass AND a.privilege_type = 'SELECT'
		                  AND a.grantee NOT IN (0, c.relowner) LOOP
			EXECUTE format('GRANT SELECT ON %s TO %s', rel, grantee);
		END LOOP;
	END LOOP;
END $$;

-- -- describing ----------------------------------------------------------------------------------
--
-- All with pg_catalog as the search path, so that every other name has its schema.

-- A default that can be compared: without the cast of a constant to the column's type, and with one
-- word each for "now", "a new uuid" and "the next of a sequence".
CREATE FUNCTION rowfs.plain_default(expression text) RETURNS text LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT CASE WHEN expression ~ '^nextval\(' THEN 'nextval()'
	            WHEN expression ~ '^(.*\.)?(uuid_generate_v4|gen_random_uuid)\(\)$'
	            THEN 'gen_random_uuid()'
	            ELSE regexp_replace(regexp_replace(expression, '^CURRENT_TIMESTAMP\y', 'now()'),
	                                '^(''.*''|\(?-?[0-9.]+\)?)::[a-z ]+(\([0-9,]+\))?$', '\1') END;
END;

-- A type, or a list of columns, that can be compared: varchar without a length holds what text
-- does.
CREATE FUNCTION rowfs.plain_types(types text) RETURNS text LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT regexp_replace(types, '\ycharacter varying\y(?!\()', 'text', 'g');
END;

CREATE FUNCTION rowfs.describe_columns(rel oid) RETURNS jsonb LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT coalesce(jsonb_agg(jsonb_build_object(
	           'name', a.attname, 'type', format_type(a.atttypid, a.atttypmod),
	           'not_null', a.attnotnull,
	           'default', CASE WHEN a.attidentity = 'd' THEN 'nextval()'
	                           WHEN a.attidentity = 'a' THEN 'GENERATED ALWAYS AS IDENTITY'
	                           WHEN a.attgenerated <> ''
	                           THEN format('GENERATED ALWAYS AS (%s) STORED',
	                                       pg_get_expr(d.adbin, d.adrelid))
	                           ELSE pg_get_expr(d.adbin, d.adrelid) END) ORDER BY a.attnum), '[]')
	  FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
	 WHERE a.attrelid = rel AND a.attnum > 0 AND NOT a.attisdropped;
END;

-- The names of the columns NUMBERS of REL, sorted.
CREATE FUNCTION rowfs.column_names(rel oid, numbers smallint[]) RETURNS jsonb LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT coalesce(jsonb_agg(a.attname ORDER BY a.attname), '[]') FROM pg_attribute a
	 WHERE a.attrelid = rel AND a.attnum = ANY (numbers);
END;

-- "keys" are all unique indexes of whole columns; a partitioned table's keys have "parted" besides.
CREATE FUNCTION rowfs.describe_table(rel oid) RETURNS jsonb LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT jsonb_build_object(
		'constraints', (SELECT coalesce(jsonb_agg(jsonb_build_object('type', c.contype,
		                'definition', pg_get_constraintdef(c.oid),
		                'columns', rowfs.column_names(rel, c.conkey)) ORDER BY c.oid), '[]')
		  FROM pg_constraint c WHERE c.conrelid = rel AND c.contype IN ('c', 'f', 'p', 'u', 'x')),
		'keys', (SELECT coalesce(jsonb_agg(jsonb_build_object('primary', i.indisprimary, 'columns',
		         rowfs.column_names(rel, (i.indkey::smallint[])[0:i.indnkeyatts - 1]))), '[]')
		  FROM pg_index i WHERE i.indrelid = rel AND i.indisunique AND i.indisvalid
		   AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL),
		'parted', (SELECT rowfs.column_names(rel, p.partattrs::smallint[])
		  FROM pg_partitioned_table p WHERE p.partrelid = rel));
END;

-- A function with a search path of its own, which begins with its schema, is as good as any such. One that means
-- PostgreSQL's own names whatever the path does the same as one that does not say so.
CREATE FUNCTION rowfs.describe_function(fn oid) RETURNS jsonb LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT jsonb_build_object(
		'result', pg_get_function_result(fn), 'arguments', pg_get_function_arguments(fn),
		'definition', concat_ws(' ', 'LANGUAGE', l.lanname,
			CASE WHEN p.prosecdef THEN 'SECURITY DEFINER' END,
			(SELECT string_agg('SET ' || CASE
				WHEN starts_with(s.setting || ', ',
				                 format('search_path=%s, ', regexp_replace(p.pronamespace::regnamespace::text,
				                        '^rowfs_scratch_[0-9]+_', ''))) -- a copy's names the original
				THEN 'search_path=' ELSE s.setting END, ' ' ORDER BY s.setting)
			   FROM unnest(p.proconfig) s(setting) WHERE s.setting <> 'search_path=pg_catalog, pg_temp'),
			regexp_replace(coalesce(pg_get_function_sqlbody(fn), p.prosrc), '\s+', ' ', 'g')))
	  FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang WHERE p.oid = fn;
END;

-- A trigger and an index without their names: what they do, and where.
CREATE FUNCTION rowfs.describe_trigger(trigger oid) RETURNS jsonb LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT jsonb_build_object(
		'on', (pg_identify_object('pg_class'::regclass, t.tgrelid, 0)).identity,
		'definition', replace(pg_get_triggerdef(t.oid),
			format(' TRIGGER %I ', t.tgname), ' TRIGGER '),
		'disabled', t.tgenabled NOT IN ('O', 'A'))
	  FROM pg_trigger t WHERE t.oid = trigger;
END;

CREATE FUNCTION rowfs.describe_index(index oid) RETURNS jsonb LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT jsonb_build_object(
		'on', (pg_identify_object('pg_class'::regclass, i.indrelid, 0)).identity,
		'definition', replace(replace(pg_get_indexdef(index),
			format(' INDEX %I ON ', c.relname), ' INDEX ON '), ' INDEX ON ONLY ', ' INDEX ON '),
		'disabled', NOT i.indisvalid)
	  FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indexrelid = index;
END;

-- The object as rowfs.object keeps it in "wanted"; NULL if there is none.
CREATE FUNCTION rowfs.describe(class regclass, object oid) RETURNS jsonb LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT jsonb_build_object('type', i.type, 'identity', i.identity,
	           'name', coalesce(c.relname, p.proname, t.tgname, e.extname, n.nspname),
	           'server', current_setting('server_version_num')::integer / 10000)
	       || CASE WHEN c.relkind IN ('i', 'I') THEN rowfs.describe_index(object)
	               WHEN c.relkind IN ('r', 'p') THEN rowfs.describe_table(object)
	                    || jsonb_build_object('columns', rowfs.describe_columns(object))
	               WHEN c.oid IS NOT NULL THEN jsonb_build_object('columns',
	                    rowfs.describe_columns(object), 'definition',
	                    regexp_replace(pg_get_viewdef(object), '\s+', ' ', 'g'))
	               WHEN p.oid IS NOT NULL THEN rowfs.describe_function(object)
	               WHEN t.oid IS NOT NULL THEN rowfs.describe_trigger(object)
	               ELSE '{}' END
	  FROM pg_identify_object(class, object, 0) i
	  LEFT JOIN pg_class c ON class = 'pg_class'::regclass AND c.oid = object
	  LEFT JOIN pg_proc p ON class = 'pg_proc'::regclass AND p.oid = object
	  LEFT JOIN pg_trigger t ON class = 'pg_trigger'::regclass AND t.oid = object
	  LEFT JOIN pg_extension e ON class = 'pg_extension'::regclass AND e.oid = object
	  LEFT JOIN pg_namespace n ON class = 'pg_namespace'::regclass AND n.oid = object
	 WHERE i.identity IS NOT NULL;
END;

-- What a pack can make, in SCHEMA: no sequences, no indexes of constraints.
CREATE FUNCTION rowfs.objects_in(schema text, OUT class regclass, OUT object oid)
RETURNS SETOF record LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT 'pg_class'::regclass, c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
	 WHERE n.nspname = schema AND c.relkind IN ('r', 'p', 'v', 'm', 'i', 'I')
	   AND NOT EXISTS (SELECT FROM pg_constraint o WHERE o.conindid = c.oid AND o.contype <> 'f')
	UNION ALL
	SELECT 'pg_proc'::regclass, p.oid FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
	 WHERE n.nspname = schema
	UNION ALL
	SELECT 'pg_trigger'::regclass, t.oid FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
	  JOIN pg_namespace n ON n.oid = c.relnamespace
	 WHERE n.nspname = schema AND NOT t.tgisinternal;
END;

-- What is called IDENTITY, of the kind of TYPE. Relations share their names: a view may be found
-- where a table is looked for.
CREATE FUNCTION rowfs.find_object(type text, name text, identity text,
                                  OUT class regclass, OUT object oid)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT x.class, x.object FROM (
		SELECT 'pg_class'::regclass, c.oid FROM pg_class c
		 WHERE type NOT IN ('function', 'trigger', 'extension', 'schema')
		   AND c.relname = find_object.name
		UNION ALL
		SELECT 'pg_proc'::regclass, p.oid FROM pg_proc p
		 WHERE type = 'function' AND p.proname = find_object.name
		UNION ALL
		SELECT 'pg_trigger'::regclass, t.oid FROM pg_trigger t
		 WHERE type = 'trigger' AND t.tgname = find_object.name
		UNION ALL
		SELECT 'pg_extension'::regclass, e.oid FROM pg_extension e
		 WHERE type = 'extension' AND e.extname = find_object.name
		UNION ALL
		SELECT 'pg_namespace'::regclass, n.oid FROM pg_namespace n
		 WHERE type = 'schema' AND n.nspname = find_object.name) x(class, object)
	 WHERE (pg_identify_object(x.class, x.object, 0)).identity = find_object.identity;
END;

-- An expression without parentheses, blanks and casts between texts. PostgreSQL writes them
-- otherwise after a dump and restore: a = ANY ((ARRAY['x'::character varying])::text[]) becomes
-- a = ANY (ARRAY[('x'::character varying)::text]).
CREATE FUNCTION rowfs.bare(expression text) RETURNS text LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT regexp_replace(expression,
		'::(text|character varying|character)(\([0-9]+\))?(\[\])?|[()\s]', '', 'g');
END;

-- An index or trigger under another name that does the same as WANTED, on the same table.
CREATE FUNCTION rowfs.find_same(wanted jsonb, OUT class regclass, OUT object oid)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT x.class, x.object FROM (
		SELECT 'pg_class'::regclass, i.indexrelid, i.indrelid FROM pg_index i
		 WHERE wanted ->> 'type' = 'index' AND i.indisvalid
		UNION ALL
		SELECT 'pg_trigger'::regclass, t.oid, t.tgrelid FROM pg_trigger t
		 WHERE wanted ->> 'type' = 'trigger' AND t.tgenabled IN ('O', 'A')) x(class, object, rel)
	 WHERE x.rel = (SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
	                 WHERE format('%I.%I', n.nspname, c.relname) = wanted ->> 'on')
	   AND rowfs.bare(rowfs.describe(x.class, x.object) ->> 'definition') =
	       rowfs.bare(wanted ->> 'definition')
	 ORDER BY x.object LIMIT 1;
END;

-- -- comparing -----------------------------------------------------------------------------------

-- What keeps a table that IS_THERE from doing what the WANTED one does, each with the statement
-- that would mend it. More columns, constraints and defaults are fine while rows can be added.
CREATE FUNCTION rowfs.compare_table(wanted jsonb, is_there jsonb) RETURNS text[] LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	WITH w AS (
		SELECT c.*, format('ALTER TABLE %s ', is_there ->> 'identity') AS alter,
		       rowfs.plain_default(c."default") AS plain
		  FROM ROWS FROM (jsonb_to_recordset(wanted -> 'columns') AS
		       (name text, type text, not_null boolean, "default" text)) WITH ORDINALITY c
	), h AS (
		SELECT c.*, rowfs.plain_default(c."default") AS plain
		  FROM jsonb_to_recordset(is_there -> 'columns') AS
		       c(name text, type text, not_null boolean, "default" text)
	), says(part, at, sentence) AS (
		SELECT 1, w.ordinality, format('has no column %s: %sADD COLUMN %I %s%s%s', w.name, w.alter,
		       w.name, CASE WHEN w.plain <> 'nextval()' OR w.plain IS NULL THEN w.type
		                    WHEN w.type = 'integer' THEN 'serial' ELSE 'bigserial' END,
		       CASE WHEN w.not_null THEN ' NOT NULL' END,
		       CASE WHEN w.plain = 'nextval()' THEN ''
		            WHEN w."default" ~ '^GENERATED' THEN ' ' || w."default"
		            ELSE ' DEFAULT ' || w."default" END)
		  FROM w LEFT JOIN h USING (name) WHERE h.name IS NULL
		UNION ALL
		SELECT 2, w.ordinality, format('has the column %s as %s, not %s: %sALTER COLUMN %I TYPE %s',
		       w.name, h.type, w.type, w.alter, w.name, w.type)
		  FROM w JOIN h USING (name) WHERE rowfs.plain_types(h.type) <> rowfs.plain_types(w.type)
		UNION ALL
		SELECT 3, w.ordinality, format('lets the column %s be NULL: %sALTER COLUMN %I SET NOT NULL',
		       w.name, w.alter, w.name)
		  FROM w JOIN h USING (name) WHERE w.not_null AND NOT h.not_null
		UNION ALL
		SELECT 4, w.ordinality, format('has %s for the column %s: %sALTER COLUMN %I %s',
		       coalesce('the default ' || h."default", 'no default'), w.name, w.alter, w.name,
		       CASE WHEN w.plain = 'nextval()' THEN 'ADD GENERATED BY DEFAULT AS IDENTITY'
		            ELSE 'SET DEFAULT ' || w."default" END)
		  FROM w JOIN h USING (name) WHERE w.plain IS NOT NULL AND h.plain IS DISTINCT FROM w.plain
		UNION ALL
		SELECT 5, 0, format('has the column %s, which every new row must say: %sALTER COLUMN %I %s',
		       h.name, format('ALTER TABLE %s ', is_there ->> 'identity'), h.name, 'DROP NOT NULL')
		  FROM h LEFT JOIN w USING (name)
		 WHERE h.not_null AND h."default" IS NULL AND w.not_null IS NOT TRUE
		UNION ALL
		SELECT 6, c.ordinality, format('has no %s: ALTER TABLE %s ADD %1$s', c.definition,
		       is_there ->> 'identity')
		  FROM ROWS FROM (jsonb_to_recordset(wanted -> 'constraints') AS
		       (type text, definition text, columns jsonb)) WITH ORDINALITY c
		 WHERE NOT EXISTS (SELECT FROM jsonb_array_elements(is_there -> 'constraints') o(o)
		                    WHERE rowfs.bare(o.o ->> 'definition') = rowfs.bare(c.definition))
		   AND NOT (c.type IN ('p', 'u') AND EXISTS (
		       SELECT FROM jsonb_array_elements(is_there -> 'keys') k(k)
		        WHERE (c.type = 'u' OR (k.k ->> 'primary')::boolean) AND k.k -> 'columns' @> c.columns
		          AND c.columns || coalesce(nullif(is_there -> 'parted', 'null'), '[]')
		              @> (k.k -> 'columns')))
	)
	SELECT coalesce(array_agg(s.sentence ORDER BY s.part, s.at, s.sentence), '{}') FROM says s;
END;

-- "a text, b text"
CREATE FUNCTION rowfs.list_columns(columns jsonb) RETURNS text LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT string_agg(format('%I %s', c.c ->> 'name', c.c ->> 'type'), ', ' ORDER BY c.at)
	  FROM jsonb_array_elements(columns) WITH ORDINALITY c(c, at);
END;

-- Sentences for what differs between two descriptions; empty if nothing does. Major versions of
-- PostgreSQL write a stored query differently: then only its columns are compared.
CREATE FUNCTION rowfs.compare(wanted jsonb, is_there jsonb) RETURNS text[] LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT CASE
	WHEN is_there IS NULL THEN ARRAY['is not there']
	WHEN is_there ->> 'type' <> wanted ->> 'type'
	THEN ARRAY[format('is no %s but a %s of that name', wanted ->> 'type', is_there ->> 'type')]
	WHEN wanted ->> 'type' = 'table' THEN rowfs.compare_table(wanted, is_there)
	WHEN rowfs.plain_types(rowfs.list_columns(wanted -> 'columns')) <>
	     rowfs.plain_types(rowfs.list_columns(is_there -> 'columns'))
	THEN ARRAY[format('has other columns: %s (the pack''s: %s)',
	                  rowfs.list_columns(is_there -> 'columns'),
	                  rowfs.list_columns(wanted -> 'columns'))]
	WHEN rowfs.plain_types(is_there ->> 'result') <> rowfs.plain_types(wanted ->> 'result')
	THEN ARRAY[format('returns %s, not %s', is_there ->> 'result', wanted ->> 'result')]
	WHEN is_there ->> 'arguments' <> wanted ->> 'arguments'
	THEN ARRAY[format('takes (%s), not (%s)', is_there ->> 'arguments', wanted ->> 'arguments')]
	WHEN rowfs.bare(is_there ->> 'definition') <> rowfs.bare(wanted ->> 'definition')
	 AND is_there -> 'server' = wanted -> 'server'
	THEN ARRAY['is another one' || CASE WHEN wanted ->> 'type' IN ('index', 'trigger')
	           THEN format(': %s', is_there ->> 'definition') ELSE '' END]
	ELSE '{}' END
	|| CASE WHEN (is_there -> 'disabled')::boolean AND wanted ->> 'type' = 'index'
	        THEN ARRAY['is not valid: REINDEX INDEX ' || (is_there ->> 'identity')]
	        WHEN (is_there -> 'disabled')::boolean
	        THEN ARRAY[format('is disabled: ALTER TABLE %s ENABLE TRIGGER %I', is_there ->> 'on',
	                          is_there ->> 'name')] ELSE '{}' END;
END;

-- What differs now from what O wants.
CREATE FUNCTION rowfs.object_differs(o rowfs.object) RETURNS text[] LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT nullif(rowfs.compare(o.wanted, rowfs.describe(f.class, f.object)), '{}')
	  FROM rowfs.find_object(o.type, o.wanted ->> 'name', o.identity) f;
END;

-- What differs now, for all that PACK wants. Reads the catalog only.
CREATE FUNCTION rowfs.differences(pack text)
RETURNS TABLE (n integer, type text, identity text, differs text[], promise text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT o.n, o.type, o.identity, d.differs, o.promise
	  FROM rowfs.object o, LATERAL (SELECT rowfs.object_differs(o) AS differs) d
	 WHERE o.pack = differences.pack AND d.differs IS NOT NULL ORDER BY o.n;
END;

-- -- deploying -----------------------------------------------------------------------------------
--
-- What is going on between pack_begin() and pack_end() is in settings of the transaction:
-- rowfs.pack, rowfs.pack_schema (of the objects), rowfs.pack_scratch (of their copies),
-- rowfs.pack_named (schemas that statements name), rowfs.pack_path and rowfs.pack_scratch_path
-- (", schema" for each that is looked through behind the one and the other: those of extensions).

-- Runs STATEMENT with PATH as the search path.
CREATE FUNCTION rowfs.run_in(path text, statement text) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM set_config('search_path', path || ', pg_temp', true);
	EXECUTE statement;
END
$$;

-- One of the settings; an error outside of pack_begin() and pack_end().
CREATE FUNCTION rowfs.pack_setting(name text) RETURNS text LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF coalesce(current_setting('rowfs.pack', true), '') = '' THEN
		RAISE object_not_in_prerequisite_state USING MESSAGE = 'rowfs.pack_begin() was not called';
	END IF;
	RETURN current_setting('rowfs.' || name);
END
$$;

-- The schema that a pack's objects are in, or go to: the first of PATH that has the relation
-- ANCHOR, or else the first of PATH. SAID: the user has named one schema; no other is looked at.
CREATE FUNCTION rowfs.choose_schema(anchor text, path text[], said boolean) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	fit text[] := ARRAY(SELECT p.name FROM unnest(path) WITH ORDINALITY p(name, at)
	                     WHERE p.name <> 'rowfs' AND p.name !~ '^pg_' ORDER BY p.at);
	here text := (SELECT p.name FROM unnest(fit) WITH ORDINALITY p(name, at)
	               WHERE EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
	                              WHERE c.relname = anchor AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
	                                AND n.nspname = p.name) ORDER BY p.at LIMIT 1);
	elsewhere text[] := ARRAY(SELECT n.nspname FROM pg_class c
	                            JOIN pg_namespace n ON n.oid = c.relnamespace
	                           WHERE c.relname = anchor AND c.relkind IN ('r', 'p', 'f')
	                             AND n.nspname <> ALL (fit || '{rowfs,information_schema}'::text[])
	                             AND n.nspname !~ '^pg_' ORDER BY 1);
BEGIN
	IF here IS NOT NULL THEN
		RETURN here;
	ELSIF elsewhere <> '{}' AND NOT said THEN
		RAISE ambiguous_alias USING
			MESSAGE = format('the table %I is in the schema %s, which is not on the search path', anchor,
			                 (SELECT string_agg(quote_ident(e), ', ') FROM unnest(elsewhere) e)),
			HINT = format('To use it: rowfs init -o schema_name=%s. To make new tables: '
			              'rowfs init -o schema_name=%s.', elsewhere[1], coalesce(fit[1], 'NAME'));
	ELSIF fit = '{}' AND anchor IS NOT NULL THEN
		RAISE invalid_schema_name USING
			MESSAGE = 'no schema of the search path exists that the pack''s tables could go to',
			HINT = 'Make one, and name it: rowfs init -o schema_name=NAME.';
	END IF;
	RETURN coalesce(fit[1], 'pg_catalog'); -- where nothing can be made
END
$$;

CREATE FUNCTION rowfs.pack_begin_in(pack text, anchor text, path text[], said boolean) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	scratch text := 'rowfs_scratch_' || pg_current_xact_id();
BEGIN
	PERFORM set_config('rowfs.pack_schema', rowfs.choose_schema(anchor, path, said), true);
	PERFORM set_config('rowfs.pack', pack, true), set_config('rowfs.pack_scratch', scratch, true),
		set_config('rowfs.pack_named', '{}', true),
		set_config('rowfs.pack_path', '', true), set_config('rowfs.pack_scratch_path', '', true);
	BEGIN
		EXECUTE format('CREATE SCHEMA %I', scratch);
	EXCEPTION WHEN insufficient_privilege THEN
		RAISE insufficient_privilege USING
			MESSAGE = format('%I may not make a schema in the database %I, as rowfs does while it compares',
			                 current_user, current_database()),
			HINT = format('GRANT CREATE ON DATABASE %I TO %I; it is needed during init only.',
			              current_database(), current_user);
	END;
END
$$;

-- Begins to deploy PACK. ANCHOR is its first table, by which its schema is found; NULL if its
-- statements name the schemas of all objects.
CREATE FUNCTION rowfs.pack_begin(pack text, anchor text DEFAULT NULL) RETURNS void LANGUAGE sql
BEGIN ATOMIC
	SELECT rowfs.pack_begin_in(pack, anchor, current_schemas(false)::text[],
		regexp_replace(current_setting('search_path'), '"[^"]*"', 'x', 'g') !~ ',');
END;

-- The scratch schemas, and which schema each stands for.
CREATE FUNCTION rowfs.scratch_schemas(OUT copy text, OUT original text) RETURNS SETOF record
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT rowfs.pack_setting('pack_scratch'), rowfs.pack_setting('pack_schema')
	UNION ALL
	SELECT rowfs.pack_setting('pack_scratch') || '_' || n.name, n.name
	  FROM unnest(rowfs.pack_setting('pack_named')::text[]) n(name);
END;

-- The objects of the pack's statements up to now, as copies.
CREATE FUNCTION rowfs.copies(OUT class regclass, OUT object oid) RETURNS SETOF record
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT o.class, o.object FROM rowfs.scratch_schemas() s, rowfs.objects_in(s.copy) o;
END;

-- A description of a copy, as if it were one of the object itself.
CREATE FUNCTION rowfs.as_original(description jsonb) RETURNS jsonb LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	s record;
	d text := description;
BEGIN
	FOR s IN SELECT x.copy, to_json(quote_ident(x.original) || '.')::text AS original
	           FROM rowfs.scratch_schemas() x LOOP
		-- as JSON writes it, without its quotes: one in a name has a backslash
		d := replace(d, s.copy || '.', substr(s.original, 2, length(s.original) - 2));
	END LOOP;
	RETURN d;
END
$$;

-- STATEMENT with the scratch schemas in place of those that it names.
CREATE FUNCTION rowfs.for_scratch(statement text) RETURNS text LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	s record;
BEGIN
	FOR s IN SELECT x.copy, x.original FROM rowfs.scratch_schemas() x OFFSET 1 LOOP
		statement := regexp_replace(statement, format('(?<![.\w"])%s\.', s.original), s.copy || '.', 'g');
	END LOOP;
	RETURN statement;
END
$$;

-- Relations and functions in the scratch schema that this copy uses, as descriptions.
CREATE FUNCTION rowfs.used_by_copy(class regclass, object oid) RETURNS SETOF jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	WITH RECURSIVE part(class, object) AS (
		SELECT class::oid, object
		UNION
		SELECT d.classid, d.objid FROM part JOIN pg_depend d
		    ON d.refclassid = part.class AND d.refobjid = part.object AND d.deptype IN ('i', 'a'))
	SELECT DISTINCT rowfs.as_original(rowfs.describe(o.class, o.object))
	  FROM part JOIN pg_depend d ON d.classid = part.class AND d.objid = part.object
	  JOIN rowfs.copies() o
	    ON o.class = d.refclassid AND o.object = d.refobjid
	 WHERE (d.refclassid, d.refobjid) NOT IN (SELECT p.class, p.object FROM part p);
END;

-- Runs the statement in the scratch schema; returns what it makes, in the words of describe(), and
-- what that needs.
CREATE FUNCTION rowfs.learn(sql text, OUT wanted jsonb, OUT needs jsonb[]) LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	scratch text := rowfs.pack_setting('pack_scratch');
	known text[] := ARRAY(SELECT o::text FROM rowfs.copies() o);
	copy record;
	n integer := 0;
BEGIN
	PERFORM rowfs.run_in(scratch || rowfs.pack_setting('pack_scratch_path'), rowfs.for_scratch(sql));
	FOR copy IN SELECT o.class, o.object FROM rowfs.copies() o
	             WHERE o::text <> ALL (known) LOOP
		n := n + 1;
		wanted := rowfs.as_original(rowfs.describe(copy.class, copy.object));
		needs := ARRAY(SELECT rowfs.used_by_copy(copy.class, copy.object));
	END LOOP;
	IF n <> 1 THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('rowfs.make() takes a statement that makes one object, not %s', n),
			DETAIL = sql;
	END IF;
	wanted := wanted || jsonb_build_object('sql', sql, 'path', rowfs.pack_setting('pack_path'));
END
$$;

-- Notes what the pack wants. Who has made it, and in which order, stays as it was noted before.
CREATE FUNCTION rowfs.note_object(wanted jsonb, identity text, made boolean, promise text,
                                  differs text[]) RETURNS void LANGUAGE sql
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	INSERT INTO rowfs.object AS o (pack, n, type, identity, made, wanted, promise, differs)
	SELECT p.pack, coalesce((SELECT max(x.n) FROM rowfs.object x WHERE x.pack = p.pack), 0) + 1,
	       note_object.wanted ->> 'type', note_object.identity, note_object.made, note_object.wanted,
	       note_object.promise, note_object.differs
	  FROM (SELECT rowfs.pack_setting('pack')) p(pack)
	ON CONFLICT (pack, type, identity) DO UPDATE
	   SET made = o.made OR EXCLUDED.made, wanted = EXCLUDED.wanted, promise = EXCLUDED.promise,
	       differs = EXCLUDED.differs;
END;

-- Makes one object by SQL, a CREATE statement, unless the object is there. It goes to the pack's
-- schema, or to one that the statement names, and that make_schema() has been told of. Statements
-- that make no object may follow (REVOKE, INSERT): they are run with it, or not at all.
-- What is there is not changed. An object that cannot be made, because a column or a right is
-- missing, is noted as not there. PROMISE says in plain words what rests on it.
CREATE FUNCTION rowfs.make(sql text, promise text DEFAULT NULL) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	l record;
	found_it record;
	need jsonb;
	target text := rowfs.pack_setting('pack_schema');
	why text;
	makes boolean := false;
BEGIN
	SELECT x.wanted, x.needs INTO l FROM rowfs.learn(sql) x;
	SELECT f.class, f.object INTO found_it
	  FROM rowfs.find_object(l.wanted ->> 'type', l.wanted ->> 'name', l.wanted ->> 'identity') f;
	IF found_it.object IS NULL THEN
		SELECT f.class, f.object INTO found_it FROM rowfs.find_same(l.wanted) f;
	END IF;
	IF found_it.object IS NULL THEN
		-- else a table of another schema might be taken for it
		FOREACH need IN ARRAY l.needs LOOP
			IF rowfs.describe(f.class, f.object) ->> 'type' IS NULL
			   FROM rowfs.find_object(need ->> 'type', need ->> 'name', need ->> 'identity') f THEN
				why := format('it needs the %s %s', need ->> 'type', need ->> 'identity');
			END IF;
		END LOOP;
	END IF;
	IF found_it.object IS NULL AND why IS NULL THEN
		BEGIN
			PERFORM rowfs.run_in(quote_ident(target) || rowfs.pack_setting('pack_path'), sql);
			SELECT f.class, f.object INTO found_it
			  FROM rowfs.find_object(l.wanted ->> 'type', l.wanted ->> 'name', l.wanted ->> 'identity') f;
			IF found_it.object IS NULL THEN
				RAISE insufficient_privilege USING MESSAGE = format('permission denied for schema %s', target);
			END IF;
			makes := true;
		EXCEPTION WHEN syntax_error_or_access_rule_violation THEN -- all of class 42
			why := SQLERRM;
		END;
	END IF;
	PERFORM rowfs.note_object(l.wanted || CASE WHEN found_it.object IS NULL THEN '{}' ELSE
			jsonb_build_object('name', rowfs.describe(found_it.class, found_it.object) -> 'name') END,
		coalesce(rowfs.describe(found_it.class, found_it.object) ->> 'identity', l.wanted ->> 'identity'),
		makes, promise, CASE WHEN why IS NOT NULL THEN ARRAY['is not there: ' || why] END);
END
$$;

-- Adds SCHEMA to one of the paths in the settings.
CREATE FUNCTION rowfs.look_through(setting text, schema text) RETURNS void LANGUAGE sql
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT set_config('rowfs.' || setting, p.path || format(', %I', schema), true)
	  FROM (SELECT rowfs.pack_setting(setting)) p(path)
	 WHERE schema <> 'pg_catalog' AND strpos(p.path || ',', format(', %I,', schema)) = 0;
END;

-- Makes the extension NAME, in the pack's schema, unless it is there. An error if that cannot be:
-- other statements of the pack need it.
CREATE FUNCTION rowfs.make_extension(name text) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	makes boolean := NOT EXISTS (SELECT FROM pg_extension e WHERE e.extname = name);
	target text := rowfs.pack_setting('pack_schema');
	ext record;
BEGIN
	IF makes THEN
		BEGIN
			EXECUTE format('CREATE EXTENSION %I SCHEMA %I', name, target);
		EXCEPTION WHEN insufficient_privilege THEN
			RAISE insufficient_privilege USING
				MESSAGE = format('the pack needs the extension %I, which %I may not make: %s',
				                 name, current_user, SQLERRM),
				HINT = format('A superuser can: CREATE EXTENSION %I.', name);
		END;
	END IF;
	SELECT e.oid, n.nspname INTO STRICT ext
	  FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = name;
	PERFORM rowfs.look_through('pack_scratch_path', ext.nspname);
	IF ext.nspname <> target THEN
		PERFORM rowfs.look_through('pack_path', ext.nspname);
	END IF;
	PERFORM rowfs.note_object(rowfs.describe('pg_extension'::regclass, ext.oid),
		(pg_identify_object('pg_extension'::regclass, ext.oid, 0)).identity, makes, NULL, NULL);
END
$$;

-- Makes the schema NAME unless it is there. Statements may name it from here on.
CREATE FUNCTION rowfs.make_schema(name text) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	makes boolean := NOT EXISTS (SELECT FROM pg_namespace n WHERE n.nspname = name);
BEGIN
	IF name !~ '^[a-z_][a-z0-9_]{0,29}$' OR quote_ident(name) <> name THEN
		RAISE invalid_schema_name USING MESSAGE = format('%I is no schema name of a pack', name),
			HINT = 'It has at most 30 small letters, digits and underscores.';
	END IF;
	PERFORM set_config('rowfs.pack_named',
		(rowfs.pack_setting('pack_named')::text[] || name)::text, true);
	EXECUTE format('CREATE SCHEMA %s_%s', rowfs.pack_setting('pack_scratch'), name);
	IF makes THEN
		EXECUTE format('CREATE SCHEMA %I', name);
	END IF;
	PERFORM rowfs.note_object(rowfs.describe('pg_namespace'::regclass, n.oid), name, makes, NULL, NULL)
	   FROM pg_namespace n WHERE n.nspname = name;
END
$$;

-- Drops the scratch schemas, and does not say so.
CREATE FUNCTION rowfs.drop_scratch() RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET client_min_messages = warning AS $$
DECLARE
	scratch text;
BEGIN
	FOR scratch IN SELECT s.copy FROM rowfs.scratch_schemas() s LOOP
		EXECUTE format('DROP SCHEMA %I CASCADE', scratch);
	END LOOP;
END
$$;

-- Ends to deploy the pack: notes and says what differs. An error if its first table is not there.
CREATE FUNCTION rowfs.pack_end() RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	this text := rowfs.pack_setting('pack');
	o rowfs.object;
	sentence text;
	first_table integer := (SELECT min(x.n) FROM rowfs.object x
	                         WHERE x.pack = this AND x.type = 'table');
BEGIN
	PERFORM rowfs.drop_scratch();
	UPDATE rowfs.object x SET differs = rowfs.object_differs(x)
	 WHERE x.pack = this AND coalesce(x.differs[1], '') !~ '^is not there: ';
	FOR o IN SELECT * FROM rowfs.object x WHERE x.pack = this AND x.differs IS NOT NULL
	          ORDER BY x.n LOOP
		FOREACH sentence IN ARRAY o.differs LOOP
			IF o.n = first_table AND sentence ~ '^is not there' THEN
				RAISE insufficient_privilege USING
					MESSAGE = format('%s %s %s', o.type, o.identity, sentence);
			END IF;
			RAISE NOTICE USING MESSAGE = format('%s %s %s', o.type, o.identity, sentence),
				DETAIL = coalesce('Therefore not certain: ' || o.promise, '');
		END LOOP;
	END LOOP;
	PERFORM set_config('rowfs.pack', '', true);
END
$$;

-- Raises an error for what PACK has made or found, and is gone since.
CREATE FUNCTION rowfs.pack_verify(pack text) RETURNS void LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	gone text := (SELECT string_agg(o.type || ' ' || o.identity, ', ' ORDER BY o.n)
	                FROM rowfs.object o, rowfs.find_object(o.type, o.wanted ->> 'name', o.identity) f
	               WHERE o.pack = pack_verify.pack AND f.object IS NULL
	                 AND coalesce(o.differs[1], '') !~ '^is not there');
BEGIN
	IF gone IS NOT NULL THEN
		RAISE undefined_object USING MESSAGE = format('the pack %s lacks: %s', pack, gone);
	ELSIF NOT EXISTS (SELECT FROM rowfs.object o WHERE o.pack = pack_verify.pack) THEN
		RAISE undefined_object USING MESSAGE = format('the pack %s is not deployed', pack);
	END IF;
END
$$;

-- -- replacing and removing ----------------------------------------------------------------------

-- Replaces the function NAME, which was there before PACK, by the pack's. The old definition is
-- kept, and given back when the pack is removed. NAME is the function's name or identity.
CREATE FUNCTION rowfs.replace(pack text, name text) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	wants rowfs.object[] := ARRAY(SELECT o FROM rowfs.object o
	                               WHERE o.pack = replace.pack AND o.type = 'function'
	                                 AND (name IN (o.identity, o.wanted ->> 'name')
	                                      OR name = split_part(o.identity, '(', 1)));
	o rowfs.object := wants[1];
	fn oid;
	old text;
	rights aclitem[];
	schema text;
BEGIN
	IF cardinality(wants) <> 1 THEN
		RAISE undefined_function USING
			MESSAGE = format('the pack %s has %s functions %s', pack, cardinality(wants), name),
			HINT = 'These are another one than the pack''s: ' || coalesce((
				SELECT string_agg(x.identity, ', ' ORDER BY x.n) FROM rowfs.object x
				 WHERE x.pack = replace.pack AND x.type = 'function' AND x.differs IS NOT NULL), 'none');
	END IF;
	SELECT f.object INTO fn FROM rowfs.find_object(o.type, o.wanted ->> 'name', o.identity) f;
	IF rowfs.object_differs(o) IS NULL THEN
		RETURN;
	END IF;
	IF fn IS NOT NULL THEN
		old := pg_get_functiondef(fn);
		SELECT coalesce(p.proacl, acldefault('f', p.proowner)) INTO rights
		  FROM pg_proc p WHERE p.oid = fn;
	END IF;
	schema := quote_ident((pg_identify_object('pg_proc'::regclass, fn, 0)).schema);
	PERFORM rowfs.run_in(schema || (o.wanted ->> 'path'),
		regexp_replace(o.wanted ->> 'sql', '^\s*CREATE\s+FUNCTION', 'CREATE OR REPLACE FUNCTION', 'i'));
	-- rights that a REVOKE behind the pack's statement has taken
	old := old || coalesce((
		SELECT string_agg(format('; GRANT EXECUTE ON FUNCTION %s TO %s%s', o.identity,
		                         CASE r.grantee WHEN 0 THEN 'PUBLIC' ELSE r.grantee::regrole::text END,
		                         CASE WHEN r.is_grantable THEN ' WITH GRANT OPTION' END), '')
		  FROM (SELECT a.grantee, a.is_grantable FROM aclexplode(rights) a
		        EXCEPT
		        SELECT a.grantee, a.is_grantable
		          FROM pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
		         WHERE p.oid = fn) r), '');
	UPDATE rowfs.object x SET differs = rowfs.object_differs(x),
	       before = CASE WHEN NOT x.made THEN coalesce(x.before, old) END
	 WHERE x.pack = o.pack AND x.n = o.n;
END
$$;

-- Tables that PACK has made and that hold rows, with their number; above 10 000 it is an estimate.
CREATE FUNCTION rowfs.pack_rows(pack text) RETURNS TABLE (identity text, rows bigint)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	t record;
BEGIN
	FOR t IN SELECT o.identity AS name, c.oid
	           FROM rowfs.object o, rowfs.find_object(o.type, o.wanted ->> 'name', o.identity) f,
	                pg_class c
	          WHERE o.pack = pack_rows.pack AND o.type = 'table' AND o.made AND c.oid = f.object
	            AND c.relkind IN ('r', 'p') ORDER BY o.n LOOP
		identity := t.name;
		EXECUTE format('SELECT count(*) FROM (SELECT FROM %s LIMIT 10001) r', t.name) INTO rows;
		IF rows > 10000 THEN
			-- an ordinary table is in no tree
			rows := greatest(rows, (SELECT sum(c.reltuples) FROM pg_class c
				WHERE c.oid = t.oid AND c.relkind = 'r' OR c.oid IN (
					SELECT p.relid FROM pg_partition_tree(t.oid) p WHERE p.isleaf))::bigint);
		END IF;
		IF rows > 0 THEN
			RETURN NEXT;
		END IF;
	END LOOP;
END
$$;

-- Drops what PACK has made, the last first, and gives back what it has replaced. What was there
-- before stays; so does what another pack wants, too: it is that pack's then.
CREATE FUNCTION rowfs.pack_remove(pack text) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	o rowfs.object;
	heir rowfs.object;
	found_it record;
BEGIN
	FOR o IN SELECT * FROM rowfs.object x WHERE x.pack = pack_remove.pack
	            AND (x.made OR x.before IS NOT NULL) ORDER BY x.n DESC LOOP
		SELECT * INTO heir FROM rowfs.object x
		 WHERE x.pack <> o.pack AND x.type = o.type AND x.identity = o.identity ORDER BY x.pack LIMIT 1;
		IF FOUND THEN
			UPDATE rowfs.object x SET made = x.made OR o.made, before = coalesce(o.before, x.before)
			 WHERE x.pack = heir.pack AND x.n = heir.n;
			CONTINUE;
		END IF;
		SELECT f.object, rowfs.describe(f.class, f.object) ->> 'type' AS type INTO found_it
		  FROM rowfs.find_object(o.type, o.wanted ->> 'name', o.identity) f;
		CONTINUE WHEN found_it.type IS DISTINCT FROM o.type;
		IF NOT o.made THEN
			PERFORM rowfs.run_in('pg_catalog', o.before);
		ELSIF o.type IN ('extension', 'schema') THEN
			BEGIN
				EXECUTE format('DROP %s %s', o.type, o.identity);
			EXCEPTION WHEN dependent_objects_still_exist THEN
				NULL; -- others use it
			END;
		ELSE
			EXECUTE format('DROP %s %s', o.type, o.identity);
		END IF;
	END LOOP;
	DELETE FROM rowfs.object x WHERE x.pack = pack_remove.pack;
END
$$;

COMMIT;
