-- Revert rowfs_shrinkage:shrinkage_files from pg
--
-- The ids of the 18 tables stay, and so does what results have put into them.

BEGIN;

DROP VIEW коэффициенты_усушки, номенклатура_статистика;
DROP FUNCTION коэффициент_записать();
DROP FUNCTION коэффициент_удалить(text, text);
DROP TRIGGER follow_ids ON source_data;
DROP TRIGGER follow_ids ON nomenclature;
DROP TRIGGER follow_ids ON calculation_data;
DROP TRIGGER follow_ids ON models;
DROP TRIGGER follow_ids ON coefficients;
DROP TRIGGER follow_ids ON forecasts;
DROP TRIGGER follow_ids ON analytics;
DROP TRIGGER follow_ids ON ai_patterns;
DROP TRIGGER follow_ids ON validation_errors;
DROP TRIGGER follow_ids ON priority_periods;
DROP TRIGGER follow_ids ON preliminary_forecasts;
DROP TRIGGER follow_ids ON surplus_specifications;
DROP TRIGGER follow_ids ON surplus_recommendations;
DROP TRIGGER follow_ids ON surplus_patterns;
DROP TRIGGER follow_ids ON pattern_validations;
DROP TRIGGER follow_ids ON feedback_preferences;
DROP TRIGGER follow_ids ON data_lineage;
DROP TRIGGER follow_ids ON ml_model_registry;
DROP FUNCTION коэффициент_изменить(integer, float8, float8, float8, float8, text, integer, text);
DROP FUNCTION коэффициент_вставить(text, text, float8, float8, float8, float8, text, integer, text);
DROP FUNCTION имя_источника(text);
DROP FUNCTION shrinkage_follow_ids();
DROP INDEX calculation_data_nomenclature, calculation_data_date, calculation_data_source,
	coefficients_calculation, coefficients_date;
ALTER TABLE nomenclature DROP CONSTRAINT nomenclature_name_key;
DROP TABLE конфигурация, документы, предварительный_расчет, улучшенные_коэффициенты,
	результаты_анализа, ai_training_data, chat_ratings, user_feedback, ai_chat_history;

COMMIT;
