-- Verify rowfs_neurograph:neurograph_tables on pg

BEGIN;

SELECT id, binary_data, coord_x, coord_y, coord_z, flags, weight, timestamp, token_type, metadata,
       created_at, updated_at FROM tokens.tokens WHERE false;
SELECT id, region_id, min_x, min_y, min_z, max_x, max_y, max_z, token_count, density, metadata,
       updated_at FROM tokens.spatial_index WHERE false;
SELECT id, source_id, target_id, connection_type, weight, decay_rate, bidirectional, metadata,
       created_at, updated_at, generation, fitness FROM graph.connections WHERE false;
SELECT id, generation, fitness, node_count, edge_count, avg_degree, clustering_coefficient,
       graph_data, metadata, created_at FROM graph.graph_snapshots WHERE false;
SELECT id, event_type, timestamp, token_id, state_before, state_after, action, reward, metadata,
       priority, trajectory_id, sequence_number, created_at
  FROM experience.experience_events WHERE false;
SELECT id, start_time, end_time, event_count, total_reward, metadata, created_at
  FROM experience.experience_trajectories WHERE false;

-- six primary keys, one unique, three foreign keys, four checks
SELECT 1 / (count(*) = 14)::integer FROM pg_constraint
 WHERE conrelid IN ('tokens.tokens'::regclass, 'tokens.spatial_index'::regclass,
                    'graph.connections'::regclass, 'graph.graph_snapshots'::regclass,
                    'experience.experience_events'::regclass,
                    'experience.experience_trajectories'::regclass)
   AND (contype = 'p' OR conname IN (
	'tokens_binary_data_check', 'tokens_coord_x_check', 'tokens_coord_y_check',
	'tokens_coord_z_check',
	'spatial_index_region_id_key', 'connections_source_id_fkey', 'connections_target_id_fkey',
	'experience_events_token_id_fkey'));
SELECT 'tokens.idx_token_coords'::regclass, 'tokens.idx_token_created'::regclass,
       'tokens.idx_token_flags'::regclass, 'graph.idx_connection_source'::regclass,
       'graph.idx_connection_target'::regclass, 'graph.idx_connection_type'::regclass,
       'graph.idx_connection_weight'::regclass, 'experience.idx_experience_timestamp'::regclass,
       'experience.idx_experience_type'::regclass, 'experience.idx_experience_token'::regclass,
       'experience.idx_experience_priority'::regclass,
       'experience.idx_experience_trajectory'::regclass;

ROLLBACK;
