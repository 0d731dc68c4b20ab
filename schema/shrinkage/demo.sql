-- A small data set for a first look at the shrinkage system. Running it again adds only what is
-- missing.
--
--   psql CONNINFO -v ON_ERROR_STOP=1 -1 -f schema/shrinkage/demo.sql

SET client_min_messages = warning;
SET client_encoding = 'UTF8';

-- Two inventories of five positions each, with their coefficients.
INSERT INTO source_data (file_name, file_path, upload_date, processed, quality_score)
SELECT file_name, 'исходные_данные/' || file_name, upload_date::timestamp, true, 1.0
  FROM (VALUES ('лист_1.xlsx', '2025-08-29 15:00:00'), ('лист_2.xlsx', '2025-09-05 15:00:00'))
       AS v (file_name, upload_date)
 WHERE NOT EXISTS (SELECT FROM source_data s WHERE s.file_name = v.file_name);

INSERT INTO nomenclature (name, product_type, product_type_code, created_date)
VALUES ('РЫБА А Х/К', 'рыба', 'Х/К', '2025-08-29 15:01:00'),
       ('СКУМБРИЯ Г/К', 'рыба', 'Г/К', '2025-08-29 15:01:00'),
       ('СЫР "ГОЛЛАНДСКИЙ", 45 %', 'сыр', NULL, '2025-08-29 15:01:00'),
       ('КОЛБАСА С/К', 'мясо', 'С/К', '2025-08-29 15:01:00'),
       ('ЯБЛОКИ', NULL, NULL, '2025-08-29 15:01:00')
ON CONFLICT (name) DO NOTHING;

INSERT INTO models (name, model_type, description, version, created_date)
SELECT 'ShrinkageCalculator_' || t, t, 'демонстрация', '1.0', '2025-08-29 15:02:00'
  FROM unnest('{linear,adaptive_exponential}'::text[]) AS t
 WHERE NOT EXISTS (SELECT FROM models m WHERE m.model_type = t);

INSERT INTO calculation_data (source_data_id, nomenclature_id, initial_balance, incoming, outgoing,
                              final_balance, storage_days, calculation_date, data_quality_flag,
                              fifo_batch_sequence)
SELECT s.id, n.id, 10 + length(n.name), 5, 4.5, round((10.4 + length(n.name))::numeric, 2), 7,
       s.upload_date + interval '1 hour', 'clean',
       json_build_array(json_build_object('партия', 'П-0', 'qty', 2.5, 'ok', true))
  FROM source_data s, nomenclature n
 WHERE s.file_name IN ('лист_1.xlsx', 'лист_2.xlsx')
   AND n.name IN ('РЫБА А Х/К', 'СКУМБРИЯ Г/К', 'СЫР "ГОЛЛАНДСКИЙ", 45 %', 'КОЛБАСА С/К', 'ЯБЛОКИ')
   AND NOT EXISTS (SELECT FROM calculation_data c
                    WHERE c.source_data_id = s.id AND c.nomenclature_id = n.id)
 ORDER BY s.id, n.id;

INSERT INTO coefficients (calculation_data_id, model_id, coefficient_a, coefficient_b,
                          coefficient_c, accuracy_r2, calculation_date)
SELECT c.id, (SELECT max(m.id) FROM models m WHERE m.model_type = 'linear'),
       round(0.01 + c.nomenclature_id % 7 / 1000.0, 4), 0.05, 0.001, 95.5, c.calculation_date
  FROM calculation_data c JOIN source_data s ON s.id = c.source_data_id
 WHERE s.file_name IN ('лист_1.xlsx', 'лист_2.xlsx')
   AND NOT EXISTS (SELECT FROM coefficients k WHERE k.calculation_data_id = c.id)
 ORDER BY c.id;

INSERT INTO validation_errors (calculation_data_id, error_type, description, severity_level,
                               detected_by, detection_date)
SELECT c.id, 'Нулевая усушка', 'Остаток не изменился', 'низкая', 'валидатор', c.calculation_date
  FROM calculation_data c JOIN nomenclature n ON n.id = c.nomenclature_id
 WHERE n.name = 'ЯБЛОКИ'
   AND NOT EXISTS (SELECT FROM validation_errors e WHERE e.calculation_data_id = c.id)
 ORDER BY c.id;

INSERT INTO surplus_specifications (nomenclature_id, surplus_percentage, specification_start_date,
                                    created_by)
SELECT n.id, 1.5, '2025-08-01', 'склад' FROM nomenclature n
 WHERE n.name = 'КОЛБАСА С/К'
   AND NOT EXISTS (SELECT FROM surplus_specifications x WHERE x.nomenclature_id = n.id);

INSERT INTO ai_chat_history (role, content, timestamp)
SELECT * FROM (VALUES
	('user', 'Какая усушка у скумбрии?', '2025-08-30T03:17:43.123456'),
	('assistant', E'За 7 дней хранения:\n0.100 кг.', '2025-08-30T03:17:44.002311')
  ) AS v (role, content, timestamp)
 WHERE NOT EXISTS (SELECT FROM ai_chat_history);
