-- Deploy rowfs_shrinkage:shrinkage_files to pg
-- requires: shrinkage_tables
--
-- What the shrinkage system's tables need to be served as files, in the first schema of the search
-- path. Functions in SQL are bound to their tables here and now (BEGIN ATOMIC). Those in plpgsql
-- have a search path of their own.

BEGIN;

DO $$
BEGIN
	PERFORM set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);
END $$;

-- JSON files that are lists or objects of rows. The number keeps their order; no file shows it.
CREATE TABLE ai_chat_history (
	seq       bigserial PRIMARY KEY,
	role      text NOT NULL,
	content   text NOT NULL,
	timestamp text NOT NULL
);
CREATE TABLE user_feedback (
	seq        bigserial PRIMARY KEY,
	message_id text,
	feedback   text,
	timestamp  text
);
CREATE TABLE chat_ratings (
	chat_id   text PRIMARY KEY,
	rating    integer,
	comment   text,
	timestamp text
);
CREATE TABLE ai_training_data (
	seq    bigserial PRIMARY KEY,
	input  text,
	output text,
	rating integer
);

-- Results that no table of the programs holds.
CREATE TABLE результаты_анализа (
	seq                    bigserial PRIMARY KEY,
	имя                    text NOT NULL,
	"Номенклатура"         text,
	"Начальный_остаток"    float8,
	"Приход"               float8,
	"Расход"               float8,
	"Конечный_остаток"     float8,
	"Фактическая_усушка"   float8,
	"Период_хранения_дней" integer
);
CREATE TABLE улучшенные_коэффициенты (
	seq            bigserial PRIMARY KEY,
	период         text NOT NULL,
	"Номенклатура" text,
	a              float8,
	"b (день⁻¹)"   float8,
	c              float8,
	"Примечание"   text
);
CREATE TABLE предварительный_расчет (
	seq                        bigserial PRIMARY KEY,
	"Номенклатура"             text,
	"Начальный_остаток_кг"     float8,
	"Прогнозируемая_усушка_кг" float8,
	"Конечный_остаток_кг"      float8,
	a                          float8,
	b                          float8,
	c                          float8
);

-- Whole files of fixed names: text and not json, so that every byte is kept, NaN and 50.0 too.
-- Where it is NULL there is no file: programs then start with their defaults.
CREATE TABLE документы (
	имя  text PRIMARY KEY,
	тело text
);
INSERT INTO документы (имя) VALUES ('ai_chat_settings'), ('ai_knowledge_base'), ('system_settings');
CREATE TABLE конфигурация ( -- config.json, which stands at the top of the tree
	имя  text PRIMARY KEY,
	тело text
);
INSERT INTO конфигурация (имя) VALUES ('config');

ALTER TABLE nomenclature ADD CONSTRAINT nomenclature_name_key UNIQUE (name);
CREATE INDEX calculation_data_nomenclature ON calculation_data (nomenclature_id, id);
CREATE INDEX calculation_data_date ON calculation_data (calculation_date, id);
CREATE INDEX calculation_data_source ON calculation_data (source_data_id);
CREATE INDEX coefficients_calculation ON coefficients (calculation_data_id, id);
CREATE INDEX coefficients_date ON coefficients (calculation_date, id);
CREATE INDEX результаты_анализа_имя ON результаты_анализа (имя, seq);
CREATE INDEX улучшенные_коэффициенты_период ON улучшенные_коэффициенты (период, seq);

-- Sequences follow ids that a writer has given. They go up one by one as far as that takes no time:
-- setval could turn a sequence back that others draw from meanwhile. A writer may have no right to
-- the sequence, so this runs as its owner, and nobody else may make triggers of it.
CREATE FUNCTION shrinkage_follow_ids() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	seq regclass := pg_get_serial_sequence(TG_RELID::regclass::text, 'id');
	most bigint;
	missing bigint;
BEGIN
	SELECT max(id) INTO most FROM fresh;
	missing := most - coalesce(pg_sequence_last_value(seq), 0);
	IF missing BETWEEN 1 AND 100000 THEN
		PERFORM count(nextval(seq)) FROM generate_series(1, missing);
	ELSIF missing > 0 THEN
		PERFORM setval(seq, most);
	END IF;
	RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION shrinkage_follow_ids() FROM PUBLIC;

-- A file's name without its ending: what results are named after.
CREATE FUNCTION имя_источника(file_name text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT regexp_replace(file_name, '\.[^.]*$', '');
END;

-- A result needs its source, position, model and calculation; what is missing is made, as the
-- programs do. Returns the id in coefficients.
CREATE FUNCTION коэффициент_вставить(источник text, позиция text, ka float8, kb float8, kc float8,
                                     точность float8, модель text, дней integer, излишек text)
RETURNS integer LANGUAGE sql
BEGIN ATOMIC
	INSERT INTO source_data (file_name, file_path, processed, quality_score)
	SELECT источник || '.xlsx', источник || '.xlsx', true, 1.0
	 WHERE NOT EXISTS (SELECT FROM source_data s WHERE имя_источника(s.file_name) = источник);
	INSERT INTO nomenclature (name, product_type) VALUES (позиция, 'Unknown')
	ON CONFLICT (name) DO NOTHING;
	INSERT INTO models (name, model_type, version)
	SELECT 'ShrinkageCalculator_' || модель, модель, '1.0'
	 WHERE NOT EXISTS (SELECT FROM models m WHERE m.model_type = модель);
	WITH d AS (
		INSERT INTO calculation_data (source_data_id, nomenclature_id, storage_days,
		                              actual_deduction_batch, data_quality_flag)
		VALUES ((SELECT max(s.id) FROM source_data s WHERE имя_источника(s.file_name) = источник),
		        (SELECT n.id FROM nomenclature n WHERE n.name = позиция), дней, излишек, 'clean')
		RETURNING id
	)
	INSERT INTO coefficients (calculation_data_id, model_id, coefficient_a, coefficient_b,
	                          coefficient_c, accuracy_r2)
	SELECT d.id, (SELECT max(m.id) FROM models m WHERE m.model_type = модель), ka, kb, kc, точность
	  FROM d
	RETURNING id;
END;

CREATE FUNCTION коэффициент_изменить(этот integer, ka float8, kb float8, kc float8, точность float8,
                                     модель text, дней integer, излишек text)
RETURNS void LANGUAGE sql
BEGIN ATOMIC
	INSERT INTO models (name, model_type, version)
	SELECT 'ShrinkageCalculator_' || модель, модель, '1.0'
	 WHERE NOT EXISTS (SELECT FROM models m WHERE m.model_type = модель);
	UPDATE calculation_data SET storage_days = дней, actual_deduction_batch = излишек
	 WHERE id = (SELECT k.calculation_data_id FROM coefficients k WHERE k.id = этот);
	UPDATE coefficients
	   SET coefficient_a = ka, coefficient_b = kb, coefficient_c = kc, accuracy_r2 = точность,
	       model_id = CASE WHEN EXISTS (SELECT FROM models m
	                                     WHERE m.id = model_id AND m.model_type = модель)
	                       THEN model_id
	                       ELSE (SELECT max(m.id) FROM models m WHERE m.model_type = модель) END
	 WHERE id = этот;
END;

CREATE TRIGGER follow_ids AFTER INSERT ON source_data
	REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION shrinkage_follow_ids();
CREATE TRIGGER follow_ids AFTER INSERT ON nomenclature
	REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION shrinkage_follow_ids();
CREATE TRIGGER follow_ids AFTER INSERT ON calculation_data
	REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION shrinkage_follow_ids();
CREATE TRIGGER follow_ids AFTER INSERT ON models
	REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION shrinkage_follow_ids();
CREATE TRIGGER follow_ids AFTER INSERT ON coefficients
	REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION shrinkage_follow_ids();
CREATE TRIGGER follow_ids AFTER INSERT ON forecasts
	REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION shrinkage_follow_ids();
CREATE TRIGGER follow_ids AFTER INSERT ON analytics
	REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION shrinkage_follow_ids();
CREATE TRIGGER follow_ids AFTER INSERT ON ai_patterns
	REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION shrinkage_follow_ids();
CREATE TRIGGER follow_ids AFTER INSERT ON validation_errors
	REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION shrinkage_follow_ids();
CREATE TRIGGER follow_ids AFTER INSERT ON priority_periods
	REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION shrinkage_follow_ids();
CREATE TRIGGER follow_ids AFTER INSERT ON preliminary_forecasts
	REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION shrinkage_follow_ids();
CREATE TRIGGER follow_ids AFTER INSERT ON surplus_specifications
	REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION shrinkage_follow_ids();
CREATE TRIGGER follow_ids AFTER INSERT ON surplus_recommendations
	REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION shrinkage_follow_ids();
CREATE TRIGGER follow_ids AFTER INSERT ON surplus_patterns
	REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION shrinkage_follow_ids();
CREATE TRIGGER follow_ids AFTER INSERT ON pattern_validations
	REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION shrinkage_follow_ids();
CREATE TRIGGER follow_ids AFTER INSERT ON feedback_preferences
	REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION shrinkage_follow_ids();
CREATE TRIGGER follow_ids AFTER INSERT ON data_lineage
	REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION shrinkage_follow_ids();
CREATE TRIGGER follow_ids AFTER INSERT ON ml_model_registry
	REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION shrinkage_follow_ids();

CREATE VIEW номенклатура_статистика AS
	SELECT n.name,
	       (SELECT count(*) FROM calculation_data c
	         WHERE c.nomenclature_id = n.id) AS calculation_count,
	       coalesce((SELECT a.avg_accuracy FROM analytics a WHERE a.nomenclature_id = n.id
	                  ORDER BY a.last_updated DESC NULLS LAST, a.id DESC
	                  LIMIT 1), 0) AS avg_accuracy,
	       (SELECT count(*) FROM validation_errors e
	          JOIN calculation_data c ON c.id = e.calculation_data_id
	         WHERE c.nomenclature_id = n.id) AS error_count
	  FROM nomenclature n;

-- Results in the shape of their JSON files. A position has one result in a source: the last.
CREATE VIEW коэффициенты_усушки AS
	SELECT DISTINCT ON (имя_источника(s.file_name), n.name)
	       имя_источника(s.file_name) AS источник, k.id, n.name AS "Номенклатура",
	       k.coefficient_a AS a, k.coefficient_b AS b, k.coefficient_c AS c,
	       k.accuracy_r2 AS "Точность",
	       m.model_type AS "Модель", d.storage_days AS "Дней_хранения",
	       d.actual_deduction_batch AS "Учет_излишка"
	  FROM coefficients k JOIN calculation_data d ON d.id = k.calculation_data_id
	  JOIN nomenclature n ON n.id = d.nomenclature_id JOIN models m ON m.id = k.model_id
	  JOIN source_data s ON s.id = d.source_data_id
	 ORDER BY имя_источника(s.file_name), n.name, k.id DESC;

-- All results of the position in the source go: otherwise an older one would take the last one's
-- place.
CREATE FUNCTION коэффициент_удалить(исходный text, позиция text) RETURNS void LANGUAGE sql
BEGIN ATOMIC
	DELETE FROM coefficients k USING calculation_data d, nomenclature n, source_data s
	 WHERE d.id = k.calculation_data_id AND n.id = d.nomenclature_id AND s.id = d.source_data_id
	   AND n.name = позиция AND имя_источника(s.file_name) = исходный;
END;

CREATE FUNCTION коэффициент_записать() RETURNS trigger LANGUAGE plpgsql
SET search_path FROM CURRENT AS $$
BEGIN
	IF TG_OP = 'DELETE' THEN
		PERFORM коэффициент_удалить(OLD.источник, OLD."Номенклатура");
		RETURN OLD;
	END IF;
	IF TG_OP = 'UPDATE' THEN
		IF (NEW.источник, NEW."Номенклатура") IS NOT DISTINCT FROM
		   (OLD.источник, OLD."Номенклатура") THEN
			PERFORM коэффициент_изменить(OLD.id, NEW.a, NEW.b, NEW.c, NEW."Точность", NEW."Модель",
				NEW."Дней_хранения", NEW."Учет_излишка");
			RETURN NEW;
		END IF;
		PERFORM коэффициент_удалить(OLD.источник, OLD."Номенклатура");
	END IF;
	NEW.id := коэффициент_вставить(NEW.источник, NEW."Номенклатура", NEW.a, NEW.b, NEW.c,
		NEW."Точность", NEW."Модель", NEW."Дней_хранения", NEW."Учет_излишка");
	RETURN NEW;
END
$$;

CREATE TRIGGER коэффициент_записать INSTEAD OF INSERT OR UPDATE OR DELETE ON коэффициенты_усушки
	FOR EACH ROW EXECUTE FUNCTION коэффициент_записать();

COMMIT;
