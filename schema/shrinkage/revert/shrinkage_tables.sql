-- Revert rowfs_shrinkage:shrinkage_tables from pg

BEGIN;

DROP TABLE ml_model_registry, data_lineage, feedback_preferences, pattern_validations,
	surplus_patterns, surplus_recommendations, surplus_specifications, preliminary_forecasts,
	priority_periods, validation_errors, ai_patterns, analytics, forecasts, coefficients, models,
	calculation_data, nomenclature, source_data;

COMMIT;
