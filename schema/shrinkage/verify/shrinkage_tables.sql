-- Verify rowfs_shrinkage:shrinkage_tables on pg

BEGIN;

SELECT id, file_name, file_path, upload_date, file_hash, processed, quality_score
  FROM source_data WHERE false;
SELECT id, name, product_type, product_type_code, created_date, validation_flags
  FROM nomenclature WHERE false;
SELECT id, source_data_id, nomenclature_id, initial_balance, incoming, outgoing, final_balance,
       storage_days, calculation_date, data_quality_flag, inventory_confidence,
       inventory_period_start, inventory_period_end, is_valid_inventory_period,
       is_preliminary_forecast, preliminary_period_end, human_error_probability,
       validation_errors, manual_review_required, pre_shrinkage_days, pre_shrinkage_amount,
       adjusted_shrinkage_rate, inventory_shrinkage_total, actual_deduction_batch,
       fifo_principle_applied, fifo_batch_sequence
  FROM calculation_data WHERE false;
SELECT id, name, model_type, description, version, created_date
  FROM models WHERE false;
SELECT id, calculation_data_id, model_id, coefficient_a, coefficient_b, coefficient_c,
       accuracy_r2, calculation_date, adjusted_for_pre_shrinkage, pre_shrinkage_factor,
       effective_shrinkage_rate
  FROM coefficients WHERE false;
SELECT id, coefficient_id, forecast_value, actual_value, deviation, forecast_date
  FROM forecasts WHERE false;
SELECT id, nomenclature_id, model_id, avg_accuracy, total_calculations, period_start, period_end,
       last_updated
  FROM analytics WHERE false;
SELECT id, pattern_type, description, confidence_level, affected_nomenclature, discovery_date,
       pattern_data
  FROM ai_patterns WHERE false;
SELECT id, calculation_data_id, error_type, description, severity_level, detected_by,
       detection_date, resolved, resolution_date, notes
  FROM validation_errors WHERE false;
SELECT id, period_start, period_end, priority_level, description, created_by, created_date, active
  FROM priority_periods WHERE false;
SELECT id, calculation_data_id, forecast_model_id, forecast_period_days, expected_shrinkage,
       confidence_level, forecast_date, actual_shrinkage, forecast_accuracy, notes,
       pre_shrinkage_adjusted, adjusted_expected_shrinkage, batch_storage_history
  FROM preliminary_forecasts WHERE false;
SELECT id, nomenclature_id, surplus_percentage, specification_start_date, specification_end_date,
       is_active, created_date, created_by, notes
  FROM surplus_specifications WHERE false;
SELECT id, nomenclature_id, recommended_surplus_percentage, confidence_level,
       analysis_period_start, analysis_period_end, calculation_method, supporting_data,
       created_date, is_accepted, acceptance_date
  FROM surplus_recommendations WHERE false;
SELECT id, nomenclature_id, product_type, surplus_percentage, pattern_condition, is_active,
       created_date, created_from_recommendation_id, validation_count, last_validated_date,
       confidence_level, feedback_count, last_feedback_date
  FROM surplus_patterns WHERE false;
SELECT id, surplus_pattern_id, validation_date, actual_surplus_percentage,
       predicted_surplus_percentage, deviation, validation_result, user_feedback, is_confirmed,
       confirmation_date
  FROM pattern_validations WHERE false;
SELECT id, feedback_frequency, auto_confirm_threshold, is_active, created_date, updated_date
  FROM feedback_preferences WHERE false;
SELECT id, source_file_id, calculation_data_id, process_name, process_timestamp, user_id,
       input_records, output_records, status, error_message, execution_time_ms, version
  FROM data_lineage WHERE false;
SELECT id, model_name, version, algorithm_type, parameters, training_date, accuracy_metrics,
       is_active, created_by, created_date, notes
  FROM ml_model_registry WHERE false;

-- a primary key each, 17 foreign keys
SELECT 1 / (count(*) = 35)::integer FROM pg_constraint
 WHERE conrelid IN ('source_data'::regclass,
                    'nomenclature'::regclass,
                    'calculation_data'::regclass,
                    'models'::regclass,
                    'coefficients'::regclass,
                    'forecasts'::regclass,
                    'analytics'::regclass,
                    'ai_patterns'::regclass,
                    'validation_errors'::regclass,
                    'priority_periods'::regclass,
                    'preliminary_forecasts'::regclass,
                    'surplus_specifications'::regclass,
                    'surplus_recommendations'::regclass,
                    'surplus_patterns'::regclass,
                    'pattern_validations'::regclass,
                    'feedback_preferences'::regclass,
                    'data_lineage'::regclass,
                    'ml_model_registry'::regclass)
   AND (contype = 'p' OR conname IN (
	'calculation_data_source_data_id_fkey',
	'calculation_data_nomenclature_id_fkey',
	'coefficients_calculation_data_id_fkey',
	'coefficients_model_id_fkey',
	'forecasts_coefficient_id_fkey',
	'analytics_nomenclature_id_fkey',
	'analytics_model_id_fkey',
	'validation_errors_calculation_data_id_fkey',
	'preliminary_forecasts_calculation_data_id_fkey',
	'preliminary_forecasts_forecast_model_id_fkey',
	'surplus_specifications_nomenclature_id_fkey',
	'surplus_recommendations_nomenclature_id_fkey',
	'surplus_patterns_nomenclature_id_fkey',
	'surplus_patterns_created_from_recommendation_id_fkey',
	'pattern_validations_surplus_pattern_id_fkey',
	'data_lineage_source_file_id_fkey',
	'data_lineage_calculation_data_id_fkey'));

ROLLBACK;
