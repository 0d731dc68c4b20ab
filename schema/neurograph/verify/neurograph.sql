-- Verify rowfs_neurograph:neurograph on pg
--
-- What the pack has made or found is still there. What it could not make was said when it was deployed.

BEGIN;

SELECT rowfs.pack_verify('neurograph');

-- If the table is the pack's, it has the names of all files.
DO $$
DECLARE
	names integer;
BEGIN
	IF EXISTS (SELECT FROM rowfs.object
	            WHERE pack = 'neurograph' AND identity = 'neurograph.files' AND made) THEN
		SELECT count(*) INTO names FROM neurograph.files
		 WHERE name IN ('api_keys.json', 'action_controller_config.json', 'bootstrap_map.json',
		                'gateway_events.log', 'graph.wal', 'pca_model.bin');
		IF names <> 6 THEN
			RAISE no_data_found USING MESSAGE = 'neurograph.files lacks names of files';
		END IF;
	END IF;
END $$;

ROLLBACK;
