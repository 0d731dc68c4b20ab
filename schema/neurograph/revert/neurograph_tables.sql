-- Revert rowfs_neurograph:neurograph_tables from pg

BEGIN;

DROP TABLE experience.experience_trajectories, experience.experience_events, graph.graph_snapshots,
	graph.connections, tokens.spatial_index, tokens.tokens;
DROP SCHEMA experience;
DROP SCHEMA graph;
DROP SCHEMA tokens;

COMMIT;
