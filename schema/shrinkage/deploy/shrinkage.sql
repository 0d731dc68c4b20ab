-- Deploy rowfs_shrinkage:shrinkage to pg
-- requires: rowfs_core:rowfs_packs
--
-- The 18 tables of the shrinkage system, as its own programs know them, and what they need to be
-- served as files. What is there already is taken as it is (docs/PACKS.md). The defaults are new:
-- its programs have filled these columns themselves. Functions in SQL are bound to their tables
-- when they are made (BEGIN ATOMIC). Those in plpgsql have a search path of their own.

BEGIN;
\o /dev/null

SELECT rowfs.pack_begin('shrinkage', 'source_data');

SELECT rowfs.make($sql$
CREATE TABLE source_data (
	id            serial PRIMARY KEY,
	file_name     text NOT NULL,
	file_path     text NOT NULL,
	upload_date   timestamp DEFAULT (now() AT TIME ZONE 'UTC'),
	file_hash     text,
	processed     boolean DEFAULT false,
	quality_score float8
)
$sql$, 'источники/ and exports/source_data.csv');

SELECT rowfs.make($sql$
CREATE TABLE nomenclature (
	id                serial PRIMARY KEY,
	name              text NOT NULL UNIQUE,
	product_type      text,
	product_type_code text,
	created_date      timestamp DEFAULT (now() AT TIME ZONE 'UTC'),
	validation_flags  text
)
$sql$, 'номенклатура/: a position is a directory, so its name is unique');

SELECT rowfs.make($sql$
CREATE TABLE calculation_data (
	id                        serial PRIMARY KEY,
	source_data_id            integer REFERENCES source_data (id),
	nomenclature_id           integer REFERENCES nomenclature (id),
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
)
$sql$, 'расчёты of a position, of a source and of a day');

SELECT rowfs.make($sql$
CREATE TABLE models (
	id           serial PRIMARY KEY,
	name         text NOT NULL,
	model_type   text,
	description  text,
	version      text,
	created_date timestamp DEFAULT (now() AT TIME ZONE 'UTC')
)
$sql$, 'модели/: a model is a directory');

SELECT rowfs.make($sql$
CREATE TABLE coefficients (
	id                         serial PRIMARY KEY,
	calculation_data_id        integer REFERENCES calculation_data (id),
	model_id                   integer REFERENCES models (id),
	coefficient_a              float8,
	coefficient_b              float8,
	coefficient_c              float8,
	accuracy_r2                float8,
	calculation_date           timestamp DEFAULT (now() AT TIME ZONE 'UTC'),
	adjusted_for_pre_shrinkage boolean,
	pre_shrinkage_factor       float8,
	effective_shrinkage_rate   float8
)
$sql$, 'коэффициенты of a calculation and of a model, and the results made of them');

SELECT rowfs.make($sql$
CREATE TABLE forecasts (
	id             serial PRIMARY KEY,
	coefficient_id integer REFERENCES coefficients (id),
	forecast_value float8,
	actual_value   float8,
	deviation      float8,
	forecast_date  timestamp DEFAULT (now() AT TIME ZONE 'UTC')
)
$sql$, 'exports/forecasts.csv');

SELECT rowfs.make($sql$
CREATE TABLE analytics (
	id                 serial PRIMARY KEY,
	nomenclature_id    integer REFERENCES nomenclature (id),
	model_id           integer REFERENCES models (id),
	avg_accuracy       float8,
	total_calculations integer,
	period_start       timestamp,
	period_end         timestamp,
	last_updated       timestamp DEFAULT (now() AT TIME ZONE 'UTC')
)
$sql$, 'exports/analytics.csv');

SELECT rowfs.make($sql$
CREATE TABLE ai_patterns (
	id                    serial PRIMARY KEY,
	pattern_type          text,
	description           text,
	confidence_level      float8,
	affected_nomenclature text,
	discovery_date        timestamp DEFAULT (now() AT TIME ZONE 'UTC'),
	pattern_data          json
)
$sql$, 'exports/ai_patterns.csv');

SELECT rowfs.make($sql$
CREATE TABLE validation_errors (
	id                  serial PRIMARY KEY,
	calculation_data_id integer REFERENCES calculation_data (id),
	error_type          text,
	description         text,
	severity_level      text,
	detected_by         text,
	detection_date      timestamp DEFAULT (now() AT TIME ZONE 'UTC'),
	resolved            boolean DEFAULT false,
	resolution_date     timestamp,
	notes               text
)
$sql$, 'ошибки.jsonl of a calculation');

SELECT rowfs.make($sql$
CREATE TABLE priority_periods (
	id             serial PRIMARY KEY,
	period_start   timestamp,
	period_end     timestamp,
	priority_level integer,
	description    text,
	created_by     text,
	created_date   timestamp DEFAULT (now() AT TIME ZONE 'UTC'),
	active         boolean DEFAULT true
)
$sql$, 'exports/priority_periods.csv');

SELECT rowfs.make($sql$
CREATE TABLE preliminary_forecasts (
	id                          serial PRIMARY KEY,
	calculation_data_id         integer REFERENCES calculation_data (id),
	forecast_model_id           integer REFERENCES models (id),
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
)
$sql$, 'exports/preliminary_forecasts.csv');

SELECT rowfs.make($sql$
CREATE TABLE surplus_specifications (
	id                       serial PRIMARY KEY,
	nomenclature_id          integer REFERENCES nomenclature (id),
	surplus_percentage       float8,
	specification_start_date timestamp,
	specification_end_date   timestamp,
	is_active                boolean DEFAULT true,
	created_date             timestamp DEFAULT (now() AT TIME ZONE 'UTC'),
	created_by               text,
	notes                    text
)
$sql$, 'излишки.jsonl of a position');

SELECT rowfs.make($sql$
CREATE TABLE surplus_recommendations (
	id                             serial PRIMARY KEY,
	nomenclature_id                integer REFERENCES nomenclature (id),
	recommended_surplus_percentage float8,
	confidence_level               float8,
	analysis_period_start          timestamp,
	analysis_period_end            timestamp,
	calculation_method             text,
	supporting_data                json,
	created_date                   timestamp DEFAULT (now() AT TIME ZONE 'UTC'),
	is_accepted                    boolean DEFAULT false,
	acceptance_date                timestamp
)
$sql$, 'exports/surplus_recommendations.csv');

SELECT rowfs.make($sql$
CREATE TABLE surplus_patterns (
	id                             serial PRIMARY KEY,
	nomenclature_id                integer REFERENCES nomenclature (id),
	product_type                   text,
	surplus_percentage             float8,
	pattern_condition              text,
	is_active                      boolean DEFAULT true,
	created_date                   timestamp DEFAULT (now() AT TIME ZONE 'UTC'),
	created_from_recommendation_id integer REFERENCES surplus_recommendations (id),
	validation_count               integer DEFAULT 0,
	last_validated_date            timestamp,
	confidence_level               float8,
	feedback_count                 integer DEFAULT 0,
	last_feedback_date             timestamp
)
$sql$, 'exports/surplus_patterns.csv');

SELECT rowfs.make($sql$
CREATE TABLE pattern_validations (
	id                           serial PRIMARY KEY,
	surplus_pattern_id           integer REFERENCES surplus_patterns (id),
	validation_date              timestamp DEFAULT (now() AT TIME ZONE 'UTC'),
	actual_surplus_percentage    float8,
	predicted_surplus_percentage float8,
	deviation                    float8,
	validation_result            text,
	user_feedback                text,
	is_confirmed                 boolean DEFAULT false,
	confirmation_date            timestamp
)
$sql$, 'exports/pattern_validations.csv');

SELECT rowfs.make($sql$
CREATE TABLE feedback_preferences (
	id                     serial PRIMARY KEY,
	feedback_frequency     text,
	auto_confirm_threshold float8,
	is_active              boolean DEFAULT true,
	created_date           timestamp DEFAULT (now() AT TIME ZONE 'UTC'),
	updated_date           timestamp DEFAULT (now() AT TIME ZONE 'UTC')
)
$sql$, 'exports/feedback_preferences.csv');

SELECT rowfs.make($sql$
CREATE TABLE data_lineage (
	id                  serial PRIMARY KEY,
	source_file_id      integer REFERENCES source_data (id),
	calculation_data_id integer REFERENCES calculation_data (id),
	process_name        text,
	process_timestamp   timestamp DEFAULT (now() AT TIME ZONE 'UTC'),
	user_id             text,
	input_records       integer,
	output_records      integer,
	status              text,
	error_message       text,
	execution_time_ms   integer,
	version             text
)
$sql$, 'exports/data_lineage.csv');

SELECT rowfs.make($sql$
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
)
$sql$, 'exports/ml_model_registry.csv');

-- JSON files that are lists or objects of rows. The number keeps their order; no file shows it.
SELECT rowfs.make($sql$
CREATE TABLE ai_chat_history (
	seq       bigserial PRIMARY KEY,
	role      text NOT NULL,
	content   text NOT NULL,
	timestamp text NOT NULL
)
$sql$, 'результаты/ai_chat_history.json');

SELECT rowfs.make($sql$
CREATE TABLE user_feedback (
	seq        bigserial PRIMARY KEY,
	message_id text,
	feedback   text,
	timestamp  text
)
$sql$, 'результаты/user_feedback.json');

SELECT rowfs.make($sql$
CREATE TABLE chat_ratings (
	chat_id   text PRIMARY KEY,
	rating    integer,
	comment   text,
	timestamp text
)
$sql$, 'результаты/chat_ratings.json');

SELECT rowfs.make($sql$
CREATE TABLE ai_training_data (
	seq    bigserial PRIMARY KEY,
	input  text,
	output text,
	rating integer
)
$sql$, 'результаты/ai_training_data.json');

-- Results that no table of the programs holds.
SELECT rowfs.make($sql$
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
)
$sql$, 'результаты/анализ_*.json');

SELECT rowfs.make($sql$
CREATE TABLE улучшенные_коэффициенты (
	seq            bigserial PRIMARY KEY,
	период         text NOT NULL,
	"Номенклатура" text,
	a              float8,
	"b (день⁻¹)"   float8,
	c              float8,
	"Примечание"   text
)
$sql$, 'результаты/коэффициенты_усушки_*.csv');

SELECT rowfs.make($sql$
CREATE TABLE предварительный_расчет (
	seq                        bigserial PRIMARY KEY,
	"Номенклатура"             text,
	"Начальный_остаток_кг"     float8,
	"Прогнозируемая_усушка_кг" float8,
	"Конечный_остаток_кг"      float8,
	a                          float8,
	b                          float8,
	c                          float8
)
$sql$, 'результаты/предварительный_расчет_усушки.csv');

-- Whole files of fixed names: text and not json, so that every byte is kept, NaN and 50.0 too.
-- Where it is NULL there is no file: programs then start with their defaults.
SELECT rowfs.make($sql$
CREATE TABLE документы (
	имя  text PRIMARY KEY,
	тело text
);
INSERT INTO документы (имя) VALUES ('ai_chat_settings'), ('ai_knowledge_base'), ('system_settings')
$sql$, 'результаты/: whole files, byte by byte');

SELECT rowfs.make($sql$
CREATE TABLE конфигурация ( -- config.json, which stands at the top of the tree
	имя  text PRIMARY KEY,
	тело text
);
INSERT INTO конфигурация (имя) VALUES ('config')
$sql$, 'config.json, byte by byte');

SELECT rowfs.make($sql$
CREATE INDEX calculation_data_nomenclature ON calculation_data (nomenclature_id, id)
$sql$, 'a position''s расчёты are read without reading the whole table');
SELECT rowfs.make($sql$
CREATE INDEX calculation_data_date ON calculation_data (calculation_date, id)
$sql$, 'a day''s file is read without reading the whole table');
SELECT rowfs.make($sql$
CREATE INDEX calculation_data_source ON calculation_data (source_data_id)
$sql$, 'a source''s расчёты are read without reading the whole table');
SELECT rowfs.make($sql$
CREATE INDEX coefficients_calculation ON coefficients (calculation_data_id, id)
$sql$, 'a calculation''s коэффициенты are read without reading the whole table');
SELECT rowfs.make($sql$CREATE INDEX coefficients_date ON coefficients (calculation_date, id)$sql$);
SELECT rowfs.make($sql$CREATE INDEX результаты_анализа_имя ON результаты_анализа (имя, seq)$sql$);
SELECT rowfs.make($sql$
CREATE INDEX улучшенные_коэффициенты_период ON улучшенные_коэффициенты (период, seq)
$sql$);

-- Sequences follow ids that a writer has given. They go up one by one as far as that takes no time:
-- setval could turn a sequence back that others draw from meanwhile. A writer may have no right to
-- the sequence, so this runs as its owner, and nobody else may make triggers of it.
SELECT rowfs.make($sql$
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
REVOKE ALL ON FUNCTION shrinkage_follow_ids() FROM PUBLIC
$sql$, 'sequences follow ids that a writer gives');

-- A file's name without its ending: what results are named after.
SELECT rowfs.make($sql$
CREATE FUNCTION имя_источника(file_name text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT regexp_replace(file_name, '\.[^.]*$', '');
END
$sql$, 'результаты/коэффициенты_усушки_*_анализ.json');

-- A result needs its source, position, model and calculation; what is missing is made, as the
-- programs do. Returns the id in coefficients.
SELECT rowfs.make($sql$
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
END
$sql$, 'a result is added with its source, position and model');

SELECT rowfs.make($sql$
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
END
$sql$, 'a result is changed with its calculation and model');

SELECT rowfs.make(format($sql$
CREATE TRIGGER follow_ids AFTER INSERT ON %I
	REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION shrinkage_follow_ids()
$sql$, name), 'the sequence follows ids that a writer gives')
  FROM unnest(ARRAY[
	'source_data', 'nomenclature', 'calculation_data', 'models', 'coefficients', 'forecasts',
	'analytics', 'ai_patterns', 'validation_errors', 'priority_periods',
	'preliminary_forecasts', 'surplus_specifications', 'surplus_recommendations',
	'surplus_patterns', 'pattern_validations', 'feedback_preferences', 'data_lineage',
	'ml_model_registry']) AS name;

SELECT rowfs.make($sql$
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
	  FROM nomenclature n
$sql$, 'статистика.json of a position');

-- Results in the shape of their JSON files. A position has one result in a source: the last.
SELECT rowfs.make($sql$
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
	 ORDER BY имя_источника(s.file_name), n.name, k.id DESC
$sql$, 'результаты/коэффициенты_усушки_*_анализ.json');

-- All results of the position in the source go: otherwise an older one would take the last one's
-- place.
SELECT rowfs.make($sql$
CREATE FUNCTION коэффициент_удалить(исходный text, позиция text) RETURNS void LANGUAGE sql
BEGIN ATOMIC
	DELETE FROM coefficients k USING calculation_data d, nomenclature n, source_data s
	 WHERE d.id = k.calculation_data_id AND n.id = d.nomenclature_id AND s.id = d.source_data_id
	   AND n.name = позиция AND имя_источника(s.file_name) = исходный;
END
$sql$, 'a result that is gone brings no older one back');

SELECT rowfs.make($sql$
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
$$
$sql$, 'результаты/коэффициенты_усушки_*_анализ.json can be written');

SELECT rowfs.make($sql$
CREATE TRIGGER коэффициент_записать INSTEAD OF INSERT OR UPDATE OR DELETE ON коэффициенты_усушки
	FOR EACH ROW EXECUTE FUNCTION коэффициент_записать()
$sql$, 'результаты/коэффициенты_усушки_*_анализ.json can be written');

SELECT rowfs.pack_end();

\o
COMMIT;
