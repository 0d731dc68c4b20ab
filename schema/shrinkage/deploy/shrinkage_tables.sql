-- Deploy rowfs_shrinkage:shrinkage_tables to pg
--
-- The 18 tables of the shrinkage system, as its own programs know them. Unqualified: they go to the
-- first schema of the search path. The defaults are new: its programs have filled these columns
-- themselves.

BEGIN;

CREATE TABLE source_data (
	id            serial PRIMARY KEY,
	file_name     text NOT NULL,
	file_path     text NOT NULL,
	upload_date   timestamp DEFAULT (now() AT TIME ZONE 'UTC'),
	file_hash     text,
	processed     boolean DEFAULT false,
	quality_score float8
);

CREATE TABLE nomenclature (
	id                serial PRIMARY KEY,
	name              text NOT NULL,
	product_type      text,
	product_type_code text,
	created_date      timestamp DEFAULT (now() AT TIME ZONE 'UTC'),
	validation_flags  text
);

CREATE TABLE calculation_data (
	id                        serial PRIMARY KEY,
	source_data_id            integer,
	nomenclature_id           integer,
	initial_balance           float8,
	incoming                  float8,
	outgoing                  float8,
	final_balance             float8,
	storage_days              integer,
	calculation_date          timestamp DEFAULT (now() AT TIME ZONE 'UTC'),
	data_quality_flag         text,
	inventory_confidence      float8,
	inventory_period_start    timestamp,
	inventory_period_end      timestamp,
	is_valid_inventory_period boolean,
	is_preliminary_forecast   boolean,
	preliminary_period_end    timestamp,
	human_error_probability   float8,
	validation_errors         text,
	manual_review_required    boolean,
	pre_shrinkage_days        integer,
	pre_shrinkage_amount      float8,
	adjusted_shrinkage_rate   float8,
	inventory_shrinkage_total float8,
	actual_deduction_batch    text,
	fifo_principle_applied    boolean,
	fifo_batch_sequence       json
);

CREATE TABLE models (
	id           serial PRIMARY KEY,
	name         text NOT NULL,
	model_type   text,
	description  text,
	version      text,
	created_date timestamp DEFAULT (now() AT TIME ZONE 'UTC')
);

CREATE TABLE coefficients (
	id                         serial PRIMARY KEY,
	calculation_data_id        integer,
	model_id                   integer,
	coefficient_a              float8,
	coefficient_b              float8,
	coefficient_c              float8,
	accuracy_r2                float8,
	calculation_date           timestamp DEFAULT (now() AT TIME ZONE 'UTC'),
	adjusted_for_pre_shrinkage boolean,
	pre_shrinkage_factor       float8,
	effective_shrinkage_rate   float8
);

CREATE TABLE forecasts (
	id             serial PRIMARY KEY,
	coefficient_id integer,
	forecast_value float8,
	actual_value   float8,
	deviation      float8,
	forecast_date  timestamp DEFAULT (now() AT TIME ZONE 'UTC')
);

CREATE TABLE analytics (
	id                 serial PRIMARY KEY,
	nomenclature_id    integer,
	model_id           integer,
	avg_accuracy       float8,
	total_calculations integer,
	period_start       timestamp,
	period_end         timestamp,
	last_updated       timestamp DEFAULT (now() AT TIME ZONE 'UTC')
);

CREATE TABLE ai_patterns (
	id                    serial PRIMARY KEY,
	pattern_type          text,
	description           text,
	confidence_level      float8,
	affected_nomenclature text,
	discovery_date        timestamp DEFAULT (now() AT TIME ZONE 'UTC'),
	pattern_data          json
);

CREATE TABLE validation_errors (
	id                  serial PRIMARY KEY,
	calculation_data_id integer,
	error_type          text,
	description         text,
	severity_level      text,
	detected_by         text,
	detection_date      timestamp DEFAULT (now() AT TIME ZONE 'UTC'),
	resolved            boolean DEFAULT false,
	resolution_date     timestamp,
	notes               text
);

CREATE TABLE priority_periods (
	id             serial PRIMARY KEY,
	period_start   timestamp,
	period_end     timestamp,
	priority_level integer,
	description    text,
	created_by     text,
	created_date   timestamp DEFAULT (now() AT TIME ZONE 'UTC'),
	active         boolean DEFAULT true
);

CREATE TABLE preliminary_forecasts (
	id                          serial PRIMARY KEY,
	calculation_data_id         integer,
	forecast_model_id           integer,
	forecast_period_days        integer,
	expected_shrinkage          float8,
	confidence_level            float8,
	forecast_date               timestamp DEFAULT (now() AT TIME ZONE 'UTC'),
	actual_shrinkage            float8,
	forecast_accuracy           float8,
	notes                       text,
	pre_shrinkage_adjusted      boolean,
	adjusted_expected_shrinkage float8,
	batch_storage_history       json
);

CREATE TABLE surplus_specifications (
	id                       serial PRIMARY KEY,
	nomenclature_id          integer,
	surplus_percentage       float8,
	specification_start_date timestamp,
	specification_end_date   timestamp,
	is_active                boolean DEFAULT true,
	created_date             timestamp DEFAULT (now() AT TIME ZONE 'UTC'),
	created_by               text,
	notes                    text
);

CREATE TABLE surplus_recommendations (
	id                             serial PRIMARY KEY,
	nomenclature_id                integer,
	recommended_surplus_percentage float8,
	confidence_level               float8,
	analysis_period_start          timestamp,
	analysis_period_end            timestamp,
	calculation_method             text,
	supporting_data                json,
	created_date                   timestamp DEFAULT (now() AT TIME ZONE 'UTC'),
	is_accepted                    boolean DEFAULT false,
	acceptance_date                timestamp
);

CREATE TABLE surplus_patterns (
	id                             serial PRIMARY KEY,
	nomenclature_id                integer,
	product_type                   text,
	surplus_percentage             float8,
	pattern_condition              text,
	is_active                      boolean DEFAULT true,
	created_date                   timestamp DEFAULT (now() AT TIME ZONE 'UTC'),
	created_from_recommendation_id integer,
	validation_count               integer DEFAULT 0,
	last_validated_date            timestamp,
	confidence_level               float8,
	feedback_count                 integer DEFAULT 0,
	last_feedback_date             timestamp
);

CREATE TABLE pattern_validations (
	id                           serial PRIMARY KEY,
	surplus_pattern_id           integer,
	validation_date              timestamp DEFAULT (now() AT TIME ZONE 'UTC'),
	actual_surplus_percentage    float8,
	predicted_surplus_percentage float8,
	deviation                    float8,
	validation_result            text,
	user_feedback                text,
	is_confirmed                 boolean DEFAULT false,
	confirmation_date            timestamp
);

CREATE TABLE feedback_preferences (
	id                     serial PRIMARY KEY,
	feedback_frequency     text,
	auto_confirm_threshold float8,
	is_active              boolean DEFAULT true,
	created_date           timestamp DEFAULT (now() AT TIME ZONE 'UTC'),
	updated_date           timestamp DEFAULT (now() AT TIME ZONE 'UTC')
);

CREATE TABLE data_lineage (
	id                  serial PRIMARY KEY,
	source_file_id      integer,
	calculation_data_id integer,
	process_name        text,
	process_timestamp   timestamp DEFAULT (now() AT TIME ZONE 'UTC'),
	user_id             text,
	input_records       integer,
	output_records      integer,
	status              text,
	error_message       text,
	execution_time_ms   integer,
	version             text
);

CREATE TABLE ml_model_registry (
	id               serial PRIMARY KEY,
	model_name       text,
	version          text,
	algorithm_type   text,
	parameters       json,
	training_date    timestamp,
	accuracy_metrics json,
	is_active        boolean DEFAULT true,
	created_by       text,
	created_date     timestamp DEFAULT (now() AT TIME ZONE 'UTC'),
	notes            text
);

ALTER TABLE calculation_data ADD CONSTRAINT calculation_data_source_data_id_fkey
	FOREIGN KEY (source_data_id) REFERENCES source_data (id);
ALTER TABLE calculation_data ADD CONSTRAINT calculation_data_nomenclature_id_fkey
	FOREIGN KEY (nomenclature_id) REFERENCES nomenclature (id);
ALTER TABLE coefficients ADD CONSTRAINT coefficients_calculation_data_id_fkey
	FOREIGN KEY (calculation_data_id) REFERENCES calculation_data (id);
ALTER TABLE coefficients ADD CONSTRAINT coefficients_model_id_fkey
	FOREIGN KEY (model_id) REFERENCES models (id);
ALTER TABLE forecasts ADD CONSTRAINT forecasts_coefficient_id_fkey
	FOREIGN KEY (coefficient_id) REFERENCES coefficients (id);
ALTER TABLE analytics ADD CONSTRAINT analytics_nomenclature_id_fkey
	FOREIGN KEY (nomenclature_id) REFERENCES nomenclature (id);
ALTER TABLE analytics ADD CONSTRAINT analytics_model_id_fkey
	FOREIGN KEY (model_id) REFERENCES models (id);
ALTER TABLE validation_errors ADD CONSTRAINT validation_errors_calculation_data_id_fkey
	FOREIGN KEY (calculation_data_id) REFERENCES calculation_data (id);
ALTER TABLE preliminary_forecasts ADD CONSTRAINT preliminary_forecasts_calculation_data_id_fkey
	FOREIGN KEY (calculation_data_id) REFERENCES calculation_data (id);
ALTER TABLE preliminary_forecasts ADD CONSTRAINT preliminary_forecasts_forecast_model_id_fkey
	FOREIGN KEY (forecast_model_id) REFERENCES models (id);
ALTER TABLE surplus_specifications ADD CONSTRAINT surplus_specifications_nomenclature_id_fkey
	FOREIGN KEY (nomenclature_id) REFERENCES nomenclature (id);
ALTER TABLE surplus_recommendations ADD CONSTRAINT surplus_recommendations_nomenclature_id_fkey
	FOREIGN KEY (nomenclature_id) REFERENCES nomenclature (id);
ALTER TABLE surplus_patterns ADD CONSTRAINT surplus_patterns_nomenclature_id_fkey
	FOREIGN KEY (nomenclature_id) REFERENCES nomenclature (id);
ALTER TABLE surplus_patterns ADD CONSTRAINT surplus_patterns_created_from_recommendation_id_fkey
	FOREIGN KEY (created_from_recommendation_id) REFERENCES surplus_recommendations (id);
ALTER TABLE pattern_validations ADD CONSTRAINT pattern_validations_surplus_pattern_id_fkey
	FOREIGN KEY (surplus_pattern_id) REFERENCES surplus_patterns (id);
ALTER TABLE data_lineage ADD CONSTRAINT data_lineage_source_file_id_fkey
	FOREIGN KEY (source_file_id) REFERENCES source_data (id);
ALTER TABLE data_lineage ADD CONSTRAINT data_lineage_calculation_data_id_fkey
	FOREIGN KEY (calculation_data_id) REFERENCES calculation_data (id);

COMMIT;
