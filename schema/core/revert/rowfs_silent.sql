-- Revert rowfs_core:rowfs_silent from pg

BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp;

DO $do$
DECLARE
	change record;
	text text;
BEGIN
	FOR change IN SELECT * FROM (VALUES
		('rowfs.watch_body(regclass)',
$t$		IF NOT EXISTS (SELECT FROM rowfs.doubt d WHERE d.slice = one) THEN
			INSERT INTO rowfs.doubt (slice, why) VALUES (one, what);
			RAISE LOG 'rowfs: %: the sizes of its files are not kept until rowfs check --install counts them anew: %',
				TG_RELID::regclass, what;
		END IF;
	EXCEPTION WHEN OTHERS THEN
		RAISE LOG 'rowfs: %: the sizes of its files are wrong until rowfs check --install counts them anew: %',
			TG_RELID::regclass, what;
$t$,
$t$		INSERT INTO rowfs.doubt (slice, why) SELECT one, what
		 WHERE NOT EXISTS (SELECT FROM rowfs.doubt d WHERE d.slice = one);
		RAISE WARNING 'rowfs: %: the sizes of its files are summed until they are counted anew (rowfs check): %',
			TG_RELID::regclass, what;
	EXCEPTION WHEN OTHERS THEN
		RAISE WARNING 'rowfs: %: the sizes of its files are wrong until they are counted anew (rowfs check): %',
			TG_RELID::regclass, what;
$t$),
		('rowfs.notice_body(regclass)',
$t$	what := SQLERRM;
	BEGIN
		IF NOT EXISTS (SELECT FROM rowfs.doubt d JOIN rowfs.notices_of(TG_RELID) x ON x.id = d.slice) THEN
			INSERT INTO rowfs.doubt (slice, why) SELECT min(x.id), what FROM rowfs.notices_of(TG_RELID) x;
			RAISE LOG 'rowfs: %%: mounts forget all that they know with each such statement: %%', TG_RELID::regclass, what;
		END IF;
	EXCEPTION WHEN OTHERS THEN
		RAISE LOG 'rowfs: %%: mounts forget all that they know with each such statement: %%', TG_RELID::regclass, what;
	END;
	RETURN NULL;
$t$,
$t$	RAISE WARNING 'rowfs: %%: mounts forget all that they know with each such statement: %%', TG_RELID::regclass, SQLERRM;
	RETURN NULL;
$t$),
		('rowfs.install(regclass,bigint[],jsonb)',
$t$	old := '{}'; -- what another layout has asked for stays
$t$,
$t$	-- definitions that no mount has asked for in a month
	old := ARRAY(SELECT id FROM rowfs.slice WHERE to_regclass(relation) = rel
	              AND used < now() - interval '30 days' AND id <> ALL (ids));
	DELETE FROM rowfs.slice WHERE id = ANY (old);
$t$),
		('rowfs.tell(regclass,jsonb)',
$t$	-- what another layout has asked for stays
$t$,
$t$	-- definitions that no mount has asked for in a month
	DELETE FROM rowfs.notice WHERE to_regclass(relation) = rel AND used < now() - interval '30 days' AND id <> ALL (ids);
$t$),
		('rowfs.tell(regclass)',
$t$		PERFORM rowfs.notify_all(top);
		DELETE FROM rowfs.doubt WHERE slice IN (SELECT n.id FROM rowfs.notices_of(top) n);
$t$,
$t$		PERFORM rowfs.notify_all(top);
$t$),
		('rowfs.untell(regclass)',
$t$	DELETE FROM rowfs.doubt WHERE slice IN (SELECT n.id FROM rowfs.notice n WHERE to_regclass(n.relation) = rel);
	DELETE FROM rowfs.notice WHERE to_regclass(relation) = rel;
$t$,
$t$	DELETE FROM rowfs.notice WHERE to_regclass(relation) = rel;
$t$)
	) v(fn, old, new) LOOP
		text := pg_get_functiondef(change.fn::regprocedure);
		IF strpos(text, change.old) = 0 THEN
			RAISE feature_not_supported USING MESSAGE = format('%s is not the function that rowfs has made', change.fn);
		END IF;
		EXECUTE replace(text, change.old, change.new);
	END LOOP;
END $do$;

COMMENT ON TABLE rowfs.doubt IS NULL;
DELETE FROM rowfs.doubt WHERE slice IN (SELECT n.id FROM rowfs.notice n);

-- Triggers that are there are made anew, and what was counted stays. Those of another's table are left to its owner: mounts do not go by
-- them. Where one is missing, none is made.
DO $$
DECLARE
	t record;
BEGIN
	FOR t IN SELECT DISTINCT k.kind, to_regclass(k.relation) AS top
	           FROM (SELECT 'watch' AS kind, relation FROM rowfs.slice UNION SELECT 'notice', relation FROM rowfs.notice) k
	          WHERE to_regclass(k.relation) IS NOT NULL LOOP
		CONTINUE WHEN EXISTS (
			SELECT FROM rowfs.family(t.top) f(rel), rowfs.triggers(t.kind) n
			 WHERE NOT EXISTS (
				SELECT FROM pg_trigger g WHERE g.tgrelid = f.rel AND g.tgname = n.name AND g.tgenabled IN ('O', 'A')
				   AND g.tgfoid = rowfs.own_function(t.kind, t.top)));
		BEGIN
			EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', t.top);
			PERFORM rowfs.make_triggers(t.kind, t.top,
				CASE t.kind WHEN 'watch' THEN rowfs.watch_body(t.top) ELSE rowfs.notice_body(t.top) END);
		EXCEPTION WHEN insufficient_privilege THEN
			RAISE WARNING '%: its triggers are left as they are: %', t.top, SQLERRM;
		END;
	END LOOP;
END $$;

COMMIT;
