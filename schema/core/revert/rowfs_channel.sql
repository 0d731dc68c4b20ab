-- Revert rowfs_core:rowfs_channel from pg

BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp;

-- Sends a notice of WHAT, members of a JSON object as text; if that is too long, of NOTHING, the same without keys.
CREATE OR REPLACE FUNCTION rowfs.send_notice(what text, nothing text) RETURNS void LANGUAGE sql
BEGIN ATOMIC
	SELECT pg_notify('rowfs', '{"m": null, "n": {' || CASE WHEN octet_length(what) > 7800 THEN nothing ELSE what END || '}}');
END;

-- The text of the trigger function of TOP, made of all its definitions. Most statements change one row, so they have a
-- query of their own, which sorts and gathers nothing. An UPDATE is measured by the rows that it takes away: not all of
-- them arrive where another partition's trigger drops them. To look at more than a thousand rows would cost a COPY too much: the
-- whole table is named. A mistake (a column that is gone, a right that is taken away, another's lock
-- on a parent's table) must not break the writer's statement: mounts are told that anything may have changed, by what needs no right. What
-- a mount sends with the proof in rowfs.daemon, too, it tells itself. A mount that changes something by itself gets it back with the answer, before the commit, and passes it on when it is committed: a NOTIFY in
-- the transaction would make all who commit wait for each other.
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
	mount text := CASE WHEN %10$s THEN nullif(current_setting('rowfs.mount', true), '') END;
	beginning text := '{"m": ' || coalesce(to_json(mount)::text, 'null') || ', "n": {';
BEGIN
	IF mount IS NOT NULL AND TG_OP <> 'TRUNCATE' AND %11$s THEN
		RETURN NULL;
	END IF;
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
	what := beginning || what || '}}';
	IF what IS NULL OR octet_length(what) > 7900 THEN
		what := beginning || %7$L || '}}';
	END IF;
	IF mount IS NOT NULL THEN
		RAISE INFO USING MESSAGE = what, ERRCODE = 'RF001';
	ELSE
		PERFORM pg_notify('rowfs', what);
	END IF;
	RETURN NULL;
EXCEPTION WHEN OTHERS THEN
	what := format('{"m": %%s, "all": true}', coalesce(to_json(mount)::text, 'null'));
	IF mount IS NOT NULL THEN
		RAISE INFO USING MESSAGE = what, ERRCODE = 'RF001';
	ELSE
		PERFORM pg_notify('rowfs', what);
	END IF;
	RAISE WARNING 'rowfs: %%: mounts forget all that they know with each such statement: %%', TG_RELID::regclass, SQLERRM;
	RETURN NULL;
END$f$, one_row, one_pair, more_rows, more_pairs, fresh, stale, rowfs.notice_nothing(top),
		one_fresh, one_stale, rowfs.is_proven('rowfs.proof'), rowfs.is_proven('rowfs.daemon'));
END
$$;

-- Triggers that are there are made anew. Those of another's table are left to its owner: mounts do not go by them.
DO $$
DECLARE
	t record;
BEGIN
	FOR t IN SELECT DISTINCT k.kind, to_regclass(k.relation) AS top
	           FROM (SELECT 'notice' AS kind, relation FROM rowfs.notice) k
	          WHERE to_regclass(k.relation) IS NOT NULL LOOP
		CONTINUE WHEN EXISTS (
			SELECT FROM rowfs.family(t.top) f(rel), rowfs.triggers(t.kind) n
			 WHERE NOT EXISTS (
				SELECT FROM pg_trigger g WHERE g.tgrelid = f.rel AND g.tgname = n.name AND g.tgenabled IN ('O', 'A')
				   AND g.tgfoid = rowfs.own_function(t.kind, t.top)));
		BEGIN
			EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', t.top);
			PERFORM rowfs.make_triggers(t.kind, t.top, rowfs.notice_body(t.top));
		EXCEPTION WHEN insufficient_privilege THEN
			RAISE WARNING '%: its triggers are left as they are: %', t.top, SQLERRM;
		END;
	END LOOP;
END $$;

ALTER TABLE rowfs.secret DROP COLUMN channel;

COMMIT;
