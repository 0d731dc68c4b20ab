-- Verify rowfs_shrinkage:shrinkage on pg
--
-- What the pack has made or found is still there. What it could not make was said when it was deployed.

BEGIN;

SELECT rowfs.pack_verify('shrinkage');

-- Tables of whole files have the names of all files, if they are the pack's.
DO $$
DECLARE
	o record;
	names integer;
BEGIN
	FOR o IN SELECT x.identity, f.names FROM rowfs.object x, (VALUES
	                ('документы', '{ai_chat_settings,ai_knowledge_base,system_settings}'::text[]),
	                ('конфигурация', '{config}')) f(name, names)
	          WHERE x.pack = 'shrinkage' AND x.type = 'table' AND x.made
	            AND x.wanted ->> 'name' = f.name LOOP
		EXECUTE format('SELECT count(*) FROM %s WHERE имя = ANY ($1)', o.identity)
		   INTO names USING o.names;
		IF names <> cardinality(o.names) THEN
			RAISE no_data_found USING MESSAGE = format('%s lacks names of files', o.identity);
		END IF;
	END LOOP;
END $$;

ROLLBACK;
