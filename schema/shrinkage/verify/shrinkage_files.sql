-- Verify rowfs_shrinkage:shrinkage_files on pg

BEGIN;

SELECT seq, role, content, timestamp FROM ai_chat_history WHERE false;
SELECT seq, message_id, feedback, timestamp FROM user_feedback WHERE false;
SELECT chat_id, rating, comment, timestamp FROM chat_ratings WHERE false;
SELECT seq, input, output, rating FROM ai_training_data WHERE false;
SELECT seq, имя, "Номенклатура", "Начальный_остаток", "Приход", "Расход", "Конечный_остаток",
       "Фактическая_усушка", "Период_хранения_дней" FROM результаты_анализа WHERE false;
SELECT seq, период, "Номенклатура", a, "b (день⁻¹)", c, "Примечание"
  FROM улучшенные_коэффициенты WHERE false;
SELECT seq, "Номенклатура", "Начальный_остаток_кг", "Прогнозируемая_усушка_кг",
       "Конечный_остаток_кг", a, b, c FROM предварительный_расчет WHERE false;
SELECT имя, тело FROM документы WHERE false;
SELECT имя, тело FROM конфигурация WHERE false;
SELECT name, calculation_count, avg_accuracy, error_count FROM номенклатура_статистика WHERE false;
SELECT источник, id, "Номенклатура", a, b, c, "Точность", "Модель", "Дней_хранения", "Учет_излишка"
  FROM коэффициенты_усушки WHERE false;
SELECT 'имя_источника(text)'::regprocedure, 'коэффициент_удалить(text, text)'::regprocedure,
       'коэффициент_вставить(text, text, float8, float8, float8, float8, text, integer, text)'::regprocedure,
       'коэффициент_изменить(integer, float8, float8, float8, float8, text, integer, text)'::regprocedure;
SELECT 1 / (count(*) = 9)::integer FROM pg_constraint
 WHERE contype = 'p'
   AND conrelid IN ('ai_chat_history'::regclass, 'user_feedback'::regclass,
                    'chat_ratings'::regclass,
                    'ai_training_data'::regclass, 'результаты_анализа'::regclass,
                    'улучшенные_коэффициенты'::regclass, 'предварительный_расчет'::regclass,
                    'документы'::regclass, 'конфигурация'::regclass);
SELECT 'shrinkage_follow_ids()'::regprocedure, 'коэффициент_записать()'::regprocedure;
SELECT 1 / (count(*) = 18)::integer FROM pg_trigger
 WHERE tgname = 'follow_ids'
   AND tgrelid IN ('source_data'::regclass,
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
                   'ml_model_registry'::regclass);
SELECT 1 / count(*) FROM pg_trigger
 WHERE tgname = 'коэффициент_записать' AND tgrelid = 'коэффициенты_усушки'::regclass;
SELECT 1 / count(*) FROM pg_constraint
 WHERE conname = 'nomenclature_name_key' AND conrelid = 'nomenclature'::regclass;
SELECT 'calculation_data_nomenclature'::regclass, 'calculation_data_date'::regclass,
       'calculation_data_source'::regclass, 'coefficients_calculation'::regclass,
       'coefficients_date'::regclass, 'результаты_анализа_имя'::regclass,
       'улучшенные_коэффициенты_период'::regclass;

ROLLBACK;
