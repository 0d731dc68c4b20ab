-- The functions of rowfs_partitioned:partitions, as they are since partitions_path. Both scripts read this file.
--
-- They mean PostgreSQL's own operators and functions, whatever search path their caller has. What they do to the rows of
-- others' tables, they do under the caller's: triggers, policies and checks of those tables look names up by it. So each
-- function that is called by people takes the path, and leaves the rest to one of the same name that is given it.

-- Runs STATEMENTS under the search path PATH. They are to say the schema of all that they name.
CREATE OR REPLACE FUNCTION rowfs.run_under(path text, VARIADIC statements text[]) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	statement text;
BEGIN
	PERFORM set_config('search_path', path, true); -- until the function ends, since it has a path of its own
	FOREACH statement IN ARRAY statements LOOP
		EXECUTE statement;
	END LOOP;
END
$$;

-- The beginnings (in UTC) of the partitions that rows of SOURCE belong to by the column HERE, from 2000 on, below UNTIL.
CREATE OR REPLACE FUNCTION rowfs.partition_starts(source regclass, here text, per_second bigint, width text, until timestamp,
                                                  path text) RETURNS timestamp[] LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	statement text := format('SELECT pg_catalog.array_agg(DISTINCT pg_catalog.date_trunc(%1$L, '
		'''epoch''::pg_catalog.timestamp OPERATOR(pg_catalog.+) (pg_catalog.floor(%2$s OPERATOR(pg_catalog./) '
		'%3$s::pg_catalog.numeric)::pg_catalog.float8 OPERATOR(pg_catalog.*) ''1 second''::pg_catalog.interval))) '
		'FROM %4$s WHERE %2$s OPERATOR(pg_catalog.>=) %5$s AND %2$s OPERATOR(pg_catalog.<) %6$s',
		width, here, per_second, source, rowfs.partition_bound(per_second, '2000-01-01'),
		rowfs.partition_bound(per_second, until));
	starts timestamp[];
BEGIN
	PERFORM set_config('search_path', path, true);
	EXECUTE statement INTO starts;
	RETURN coalesce(starts, '{}');
END
$$;

-- Makes the partition that AT (in UTC) falls in. Rows of it that sit in DEFAULT move there. Returns
-- whether there was something to make. What overlaps with a partition made by hand is left as it is.
CREATE OR REPLACE FUNCTION rowfs.make_partition(relation regclass, at timestamp, path text) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	p rowfs.partitioned;
	width interval;
	name text;
	low bigint;
	high bigint;
	parent record;
	spare regclass := rowfs.default_partition(relation);
	here text := rowfs.partition_column(relation);
	quiet text := coalesce(current_setting('rowfs.daemon', true), '');
BEGIN
	SELECT * INTO STRICT p FROM rowfs.partitioned x WHERE x.relation = make_partition.relation;
	width := ('1 ' || p.width)::interval;
	at := date_trunc(p.width, at);
	low := rowfs.partition_bound(p.per_second, at);
	high := rowfs.partition_bound(p.per_second, at + width);
	IF EXISTS (SELECT FROM rowfs.partitions_of(relation) o WHERE o.lower < high AND o.upper > low) THEN
		RETURN false;
	END IF;
	SELECT n.nspname, c.relname INTO parent FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
	 WHERE c.oid = relation;
	name := format('%I.%I', parent.nspname, left(parent.relname, 50) || '_' || to_char(at, 'YYYYMMDD'));
	PERFORM rowfs.run_under(path, format('CREATE TABLE %s (LIKE %s INCLUDING ALL)', name, relation));
	IF spare IS NOT NULL THEN
		-- nobody adds to it until the new partition stands
		EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', spare);
		-- the rows stay in their files: the summary need not know
		PERFORM set_config('rowfs.daemon', s.proof, true) FROM rowfs.secret s;
		PERFORM rowfs.run_under(path, format('WITH moved AS (DELETE FROM %1$s WHERE %2$s OPERATOR(pg_catalog.>=) %3$s '
			'AND %2$s OPERATOR(pg_catalog.<) %4$s RETURNING *) INSERT INTO %5$s SELECT * FROM moved',
			spare, here, low, high, name));
		PERFORM set_config('rowfs.daemon', quiet, true);
	END IF;
	PERFORM rowfs.run_under(path,
		format('ALTER TABLE %s ATTACH PARTITION %s FOR VALUES FROM (%s) TO (%s)', relation, name, low, high));
	RETURN true;
END
$$;

CREATE OR REPLACE FUNCTION rowfs.make_partition(relation regclass, at timestamp) RETURNS boolean
LANGUAGE sql
BEGIN ATOMIC
	SELECT rowfs.make_partition(relation, at, current_setting('search_path'));
END;

-- Makes the partitions of RELATION (NULL: of all that rowfs.partitioned lists) from SINCE until now + AHEAD (NULL: as
-- the list says), and those for rows of the years from 2000 on that sit in DEFAULT. Returns how many it made. Waits at
-- most three seconds for whoever uses the table; then nothing is made: call it again.
CREATE OR REPLACE FUNCTION rowfs.make_partitions(relation regclass, ahead interval, since timestamptz, path text)
RETURNS integer LANGUAGE plpgsql SET lock_timeout = '3s' SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	p rowfs.partitioned;
	at timestamp;
	until timestamp;
	made integer := 0;
	before integer;
BEGIN
	FOR p IN SELECT * FROM rowfs.partitioned x
	          WHERE make_partitions.relation IS NULL OR x.relation = make_partitions.relation
	          ORDER BY x.relation LOOP
		-- one at a time; who may not change the table can make nothing, and needs no lock
		IF has_table_privilege(p.relation, 'UPDATE') THEN
			EXECUTE format('LOCK TABLE ONLY %s IN SHARE UPDATE EXCLUSIVE MODE', p.relation);
		END IF;
		before := made;
		until := now() AT TIME ZONE 'UTC' + coalesce(make_partitions.ahead, p.ahead);
		FOR at IN SELECT generate_series(date_trunc(p.width, since AT TIME ZONE 'UTC'), until,
		                                 ('1 ' || p.width)::interval) LOOP
			made := made + rowfs.make_partition(p.relation, at, path)::int;
		END LOOP;
		IF rowfs.default_partition(p.relation) IS NOT NULL THEN
			FOREACH at IN ARRAY rowfs.partition_starts(rowfs.default_partition(p.relation),
				rowfs.partition_column(p.relation), p.per_second, p.width, until, path) LOOP
				made := made + rowfs.make_partition(p.relation, at, path)::int;
			END LOOP;
		END IF;
		IF made > before THEN
			PERFORM rowfs.watch(p.relation);
			PERFORM rowfs.tell(p.relation);
		END IF;
	END LOOP;
	IF made = 0 AND make_partitions.relation IS NOT NULL
	   AND NOT EXISTS (SELECT FROM rowfs.partitioned x WHERE x.relation = make_partitions.relation) THEN
		RAISE no_data_found USING MESSAGE = format('%s is not in rowfs.partitioned', make_partitions.relation);
	END IF;
	RETURN made;
END
$$;

CREATE OR REPLACE FUNCTION rowfs.make_partitions(relation regclass DEFAULT NULL, ahead interval DEFAULT NULL,
                                                 since timestamptz DEFAULT now()) RETURNS integer
LANGUAGE sql
BEGIN ATOMIC
	SELECT rowfs.make_partitions(relation, ahead, since, current_setting('search_path'));
END;

-- Drops the partitions of RELATION (NULL: of all that rowfs.partitioned lists) all of whose rows are OLDER (NULL: as the
-- list says; nothing where it says nothing) than now, and deletes rows as old from DEFAULT. The sizes of rows files stay
-- true. Returns how many partitions went. Waits as make_partitions() does.
CREATE OR REPLACE FUNCTION rowfs.drop_partitions(relation regclass, older interval, path text)
RETURNS integer LANGUAGE plpgsql SET lock_timeout = '3s' SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	p rowfs.partitioned;
	part regclass;
	old regclass[];
	limit_at bigint;
	dropped integer := 0;
BEGIN
	FOR p IN SELECT * FROM rowfs.partitioned x
	          WHERE (drop_partitions.relation IS NULL OR x.relation = drop_partitions.relation)
	            AND coalesce(older, x.keep) IS NOT NULL
	          ORDER BY x.relation LOOP
		IF has_table_privilege(p.relation, 'UPDATE') THEN
			EXECUTE format('LOCK TABLE ONLY %s IN SHARE UPDATE EXCLUSIVE MODE', p.relation);
		END IF;
		limit_at := rowfs.partition_bound(p.per_second, now() AT TIME ZONE 'UTC' - coalesce(older, p.keep));
		old := ARRAY(SELECT x.part FROM rowfs.partitions_of(p.relation) x WHERE x.upper <= limit_at);
		-- all are counted first: the table itself is locked only for the moment of dropping
		FOREACH part IN ARRAY old LOOP
			PERFORM rowfs.count_out(part);
		END LOOP;
		FOREACH part IN ARRAY old LOOP
			PERFORM rowfs.run_under(path, format('DROP TABLE %s', part));
			dropped := dropped + 1;
		END LOOP;
		IF rowfs.default_partition(p.relation) IS NOT NULL THEN
			PERFORM rowfs.run_under(path, format('DELETE FROM %s WHERE %s OPERATOR(pg_catalog.<) %s',
				rowfs.default_partition(p.relation), rowfs.partition_column(p.relation), limit_at));
		END IF;
		PERFORM rowfs.notify_all(p.relation) WHERE old <> '{}';
	END LOOP;
	RETURN dropped;
END
$$;

CREATE OR REPLACE FUNCTION rowfs.drop_partitions(relation regclass DEFAULT NULL, older interval DEFAULT NULL)
RETURNS integer LANGUAGE sql
BEGIN ATOMIC
	SELECT rowfs.drop_partitions(relation, older, current_setting('search_path'));
END;

-- Makes RELATION anew with all its rows: PARTITION BY what BY_WHAT says (NULL: in one piece), with the primary key KEY.
-- Columns, defaults, sequences, constraints, indexes, triggers, owner and privileges are as before. INSIDE is SQL that is
-- run with the new table as $1 and the old one as $2 before the rows come. What the table had is said as PostgreSQL shows
-- it under this function's path, and so is run under it, as pg_dump does.
CREATE OR REPLACE FUNCTION rowfs.rebuild(relation regclass, by_what text, key text[], inside text, path text)
RETURNS regclass LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	t record;
	name text := relation::text;
	old text;
	again text[];
	statement text;
	whole text;
	quiet text := coalesce(current_setting('rowfs.daemon', true), '');
BEGIN
	EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', name);
	SELECT c.oid, c.relname, c.relowner, n.nspname INTO t FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
	 WHERE c.oid = relation;
	whole := format('%I.%I', t.nspname, t.relname);
	IF EXISTS (SELECT FROM pg_constraint WHERE confrelid = t.oid AND contype = 'f' AND conrelid <> t.oid) THEN
		RAISE feature_not_supported USING MESSAGE = format('foreign keys refer to %s: drop them first, its primary key '
			'changes', name);
	END IF;
	IF EXISTS (SELECT FROM pg_attribute WHERE attrelid = t.oid AND attidentity <> '') THEN
		RAISE feature_not_supported USING MESSAGE = format('%s has an identity column, which partitions cannot have: give '
			'it a sequence as its default', name);
	END IF;
	PERFORM rowfs.drop_triggers(relation);
	-- what is to be said again of the new table, in this order
	again := ARRAY(
		SELECT format('ALTER TABLE %s ADD CONSTRAINT %I PRIMARY KEY (%s)', whole, coalesce(
			(SELECT conname FROM pg_constraint WHERE conrelid = t.oid AND contype = 'p'), t.relname || '_pkey'),
			(SELECT string_agg(quote_ident(k), ', ' ORDER BY n) FROM unnest(key) WITH ORDINALITY x(k, n)))
		UNION ALL (SELECT replace(pg_get_indexdef(i.indexrelid), ' ON ONLY ', ' ON ') FROM pg_index i
		 WHERE i.indrelid = t.oid AND NOT i.indisprimary
		   AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = i.indexrelid AND c.conrelid = t.oid)
		 ORDER BY i.indexrelid)
		UNION ALL (SELECT format('ALTER TABLE %s ADD CONSTRAINT %I %s', whole, c.conname, pg_get_constraintdef(c.oid))
		  FROM pg_constraint c WHERE c.conrelid = t.oid AND c.contype IN ('u', 'f', 'x') ORDER BY c.oid)
		UNION ALL (SELECT pg_get_triggerdef(g.oid) FROM pg_trigger g
		 WHERE g.tgrelid = t.oid AND NOT g.tgisinternal ORDER BY g.tgname)
		UNION ALL (SELECT format('GRANT %s ON %s TO %s%s', a.privilege_type, whole,
		               CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END,
		               CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
		  FROM pg_class c, aclexplode(c.relacl) a WHERE c.oid = t.oid)
		UNION ALL SELECT format('ALTER TABLE %s OWNER TO %s', whole, t.relowner::regrole));
	old := format('%I.%I', t.nspname, left(t.relname, 59) || '_old');
	PERFORM rowfs.run_under(path,
		format('ALTER TABLE %s RENAME TO %I', whole, left(t.relname, 59) || '_old'),
		format('CREATE TABLE %s (LIKE %s INCLUDING COMMENTS INCLUDING CONSTRAINTS INCLUDING DEFAULTS '
			'INCLUDING GENERATED INCLUDING STATISTICS INCLUDING STORAGE)%s', whole, old,
			CASE WHEN by_what IS NOT NULL THEN ' PARTITION BY ' || by_what ELSE '' END));
	FOR statement IN
		SELECT format('ALTER SEQUENCE %s OWNED BY %s.%I', d.objid::regclass, whole, a.attname)
		  FROM pg_depend d JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
		  JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
		 WHERE d.refobjid = t.oid AND d.classid = 'pg_class'::regclass AND d.deptype = 'a' LOOP
		EXECUTE statement;
	END LOOP;
	IF inside IS NOT NULL THEN
		EXECUTE inside USING whole::regclass, old::regclass;
	END IF;
	-- the rows stay in their files: the summary need not know
	PERFORM set_config('rowfs.daemon', s.proof, true) FROM rowfs.secret s;
	PERFORM rowfs.run_under(path, format('INSERT INTO %1$s (%2$s) SELECT %2$s FROM %3$s', whole,
		(SELECT string_agg(quote_ident(attname), ', ') FROM pg_attribute WHERE attrelid = t.oid AND attnum > 0
		    AND NOT attisdropped AND attgenerated = ''), old));
	PERFORM set_config('rowfs.daemon', quiet, true);
	PERFORM rowfs.run_under(path, format('DROP TABLE %s', old));
	FOREACH statement IN ARRAY again LOOP
		EXECUTE statement;
	END LOOP;
	EXECUTE format('ANALYZE %s', whole);
	PERFORM rowfs.watch(whole::regclass);
	PERFORM rowfs.tell(whole::regclass);
	RETURN whole::regclass;
END
$$;

CREATE OR REPLACE FUNCTION rowfs.rebuild(relation regclass, by_what text, key text[], inside text) RETURNS regclass
LANGUAGE sql
BEGIN ATOMIC
	SELECT rowfs.rebuild(relation, by_what, key, inside, current_setting('search_path'));
END;

-- Makes a table partitioned by the integer column COL, with the rows that it has. COL joins the primary key. Mounts of the
-- table are to be stopped before and started again.
CREATE OR REPLACE FUNCTION rowfs.partition_table(relation regclass, col text, per_second bigint, width text,
                                                 keep interval, path text) RETURNS regclass
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	key text[] := ARRAY(SELECT a.attname FROM pg_index i, unnest(i.indkey) WITH ORDINALITY k(num, n)
	                      JOIN pg_attribute a ON a.attrelid = relation AND a.attnum = k.num
	                     WHERE i.indrelid = relation AND i.indisprimary ORDER BY k.n);
BEGIN
	IF (SELECT relkind FROM pg_class WHERE oid = relation) <> 'r' THEN
		RAISE wrong_object_type USING MESSAGE = format('%s is no ordinary table', relation);
	END IF;
	IF cardinality(key) = 0 THEN
		RAISE invalid_table_definition USING MESSAGE = format('%s has no primary key', relation);
	END IF;
	IF NOT col = ANY (key) THEN
		key := key || col;
	END IF;
	RETURN rowfs.rebuild(relation, format('RANGE (%I)', col), key, format(
		'SELECT rowfs.prepare_partitions($1, $2, %L, %s, %L, %L, %L)', col, per_second, width, keep, path), path);
END
$$;

CREATE OR REPLACE FUNCTION rowfs.partition_table(relation regclass, col text, per_second bigint,
                                                 width text DEFAULT 'month', keep interval DEFAULT NULL) RETURNS regclass
LANGUAGE sql
BEGIN ATOMIC
	SELECT rowfs.partition_table(relation, col, per_second, width, keep, current_setting('search_path'));
END;

-- The partitions of a table that is still empty, for the rows that OLD has and for those to come.
DROP FUNCTION IF EXISTS rowfs.prepare_partitions(regclass, regclass, text, bigint, text, interval);
CREATE OR REPLACE FUNCTION rowfs.prepare_partitions(relation regclass, old regclass, col text, per_second bigint,
                                                    width text, keep interval, path text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	at timestamp;
	parent record;
BEGIN
	DELETE FROM rowfs.partitioned x WHERE NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = x.relation);
	INSERT INTO rowfs.partitioned (relation, per_second, width, keep)
	VALUES (prepare_partitions.relation, prepare_partitions.per_second, prepare_partitions.width,
	        prepare_partitions.keep);
	SELECT n.nspname, c.relname INTO parent FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
	 WHERE c.oid = relation;
	PERFORM rowfs.run_under(path, format('CREATE TABLE %I.%I PARTITION OF %s DEFAULT', parent.nspname,
		left(parent.relname, 50) || '_default', relation));
	FOREACH at IN ARRAY rowfs.partition_starts(old, quote_ident(col), per_second, width,
		now() AT TIME ZONE 'UTC' + interval '1 year', path) LOOP
		PERFORM rowfs.make_partition(relation, at, path);
	END LOOP;
	PERFORM rowfs.make_partitions(relation, NULL, now(), path);
END
$$;

-- Makes a partitioned table one piece again, with the primary key KEY.
CREATE OR REPLACE FUNCTION rowfs.unpartition_table(relation regclass, key text[], path text) RETURNS regclass
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	DELETE FROM rowfs.partitioned x WHERE x.relation = unpartition_table.relation;
	RETURN rowfs.rebuild(relation, NULL, key, NULL, path);
END
$$;

CREATE OR REPLACE FUNCTION rowfs.unpartition_table(relation regclass, key text[]) RETURNS regclass
LANGUAGE sql
BEGIN ATOMIC
	SELECT rowfs.unpartition_table(relation, key, current_setting('search_path'));
END;
