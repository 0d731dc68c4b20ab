"""The pack shrinkage: its tables, its files, and its programs as they call (docs/packs/shrinkage.md)."""
import contextlib
import csv
import errno
import io
import json
import math
import os
import re
import shutil
import threading

import psycopg2
import pytest

import packkit
from kit import get, refused, rm, sqitch

FLOAT, STAMP = "double precision", "timestamp without time zone"
UTC = "(now() AT TIME ZONE 'UTC'::text)"

# What the programs know: column type, with ! where it is NOT NULL, = and a default, > and the table that it refers to.
TABLES = {
    "source_data": "file_name text!, file_path text!, upload_date time=now, file_hash text, processed bool=false, quality_score float",
    "nomenclature": "name text!, product_type text, product_type_code text, created_date time=now, validation_flags text",
    "calculation_data": "source_data_id int>source_data, nomenclature_id int>nomenclature, initial_balance float, incoming float, outgoing float,"
    " final_balance float, storage_days int, calculation_date time=now, data_quality_flag text, inventory_confidence float,"
    " inventory_period_start time, inventory_period_end time, is_valid_inventory_period bool, is_preliminary_forecast bool,"
    " preliminary_period_end time, human_error_probability float, validation_errors text, manual_review_required bool, pre_shrinkage_days int,"
    " pre_shrinkage_amount float, adjusted_shrinkage_rate float, inventory_shrinkage_total float, actual_deduction_batch text,"
    " fifo_principle_applied bool, fifo_batch_sequence json",
    "models": "name text!, model_type text, description text, version text, created_date time=now",
    "coefficients": "calculation_data_id int>calculation_data, model_id int>models, coefficient_a float, coefficient_b float,"
    " coefficient_c float, accuracy_r2 float, calculation_date time=now, adjusted_for_pre_shrinkage bool, pre_shrinkage_factor float,"
    " effective_shrinkage_rate float",
    "forecasts": "coefficient_id int>coefficients, forecast_value float, actual_value float, deviation float, forecast_date time=now",
    "analytics": "nomenclature_id int>nomenclature, model_id int>models, avg_accuracy float, total_calculations int, period_start time,"
    " period_end time, last_updated time=now",
    "ai_patterns": "pattern_type text, description text, confidence_level float, affected_nomenclature text, discovery_date time=now,"
    " pattern_data json",
    "validation_errors": "calculation_data_id int>calculation_data, error_type text, description text, severity_level text, detected_by text,"
    " detection_date time=now, resolved bool=false, resolution_date time, notes text",
    "priority_periods": "period_start time, period_end time, priority_level int, description text, created_by text, created_date time=now,"
    " active bool=true",
    "preliminary_forecasts": "calculation_data_id int>calculation_data, forecast_model_id int>models, forecast_period_days int,"
    " expected_shrinkage float, confidence_level float, forecast_date time=now, actual_shrinkage float, forecast_accuracy float, notes text,"
    " pre_shrinkage_adjusted bool, adjusted_expected_shrinkage float, batch_storage_history json",
    "surplus_specifications": "nomenclature_id int>nomenclature, surplus_percentage float, specification_start_date time,"
    " specification_end_date time, is_active bool=true, created_date time=now, created_by text, notes text",
    "surplus_recommendations": "nomenclature_id int>nomenclature, recommended_surplus_percentage float, confidence_level float,"
    " analysis_period_start time, analysis_period_end time, calculation_method text, supporting_data json, created_date time=now,"
    " is_accepted bool=false, acceptance_date time",
    "surplus_patterns": "nomenclature_id int>nomenclature, product_type text, surplus_percentage float, pattern_condition text,"
    " is_active bool=true, created_date time=now, created_from_recommendation_id int>surplus_recommendations, validation_count int=0,"
    " last_validated_date time, confidence_level float, feedback_count int=0, last_feedback_date time",
    "pattern_validations": "surplus_pattern_id int>surplus_patterns, validation_date time=now, actual_surplus_percentage float,"
    " predicted_surplus_percentage float, deviation float, validation_result text, user_feedback text, is_confirmed bool=false,"
    " confirmation_date time",
    "feedback_preferences": "feedback_frequency text, auto_confirm_threshold float, is_active bool=true, created_date time=now,"
    " updated_date time=now",
    "data_lineage": "source_file_id int>source_data, calculation_data_id int>calculation_data, process_name text, process_timestamp time=now,"
    " user_id text, input_records int, output_records int, status text, error_message text, execution_time_ms int, version text",
    "ml_model_registry": "model_name text, version text, algorithm_type text, parameters json, training_date time, accuracy_metrics json,"
    " is_active bool=true, created_by text, created_date time=now, notes text",
}
TYPES = {"text": "text", "time": STAMP, "float": FLOAT, "int": "integer", "bool": "boolean", "json": "json"}

RESULT = [{"Номенклатура": "РЫБА А Х/К", "a": 0.015, "b": 0.05, "c": 0.001, "Точность": 100.0, "Модель": "adaptive_exponential", "Дней_хранения": 6},
          {"Номенклатура": "СКУМБРИЯ, 45 %", "a": 0.02, "b": 0.05, "c": -0.001, "Точность": 87.5, "Модель": "linear", "Дней_хранения": 7,
           "Учет_излишка": "1.0%"}]
ANALYSIS = [{"Номенклатура": "РЫБА", "Начальный_остаток": 1.5, "Приход": 2.25, "Расход": 1.0, "Конечный_остаток": 2.75, "Фактическая_усушка": 0,
             "Период_хранения_дней": 7}] * 2


@pytest.fixture(scope="module")
def p(server, packs_template):
    with packkit.packed(server, packs_template, "shrinkage") as made:
        yield made


def dump_to(path, value, **kw):
    """As the programs write a document."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as f:
        json.dump(value, f, ensure_ascii=False, indent=2, **kw)


def load(path, otherwise=None):
    """As they read it."""
    if not os.path.exists(path):
        return otherwise
    with open(path, encoding="utf-8") as f:
        return json.load(f)


# -- the schema -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", TABLES)
def test_tables_are_those_that_programs_know(p, table):
    want, refers = [("id", "integer", True, f"nextval('{table}_id_seq'::regclass)")], set()
    for word in TABLES[table].split(", "):
        m = re.fullmatch(r"(\w+) (\w+?)(!)?(?:=(\w+))?(?:>(\w+))?", word)
        want.append((m[1], TYPES[m[2]], bool(m[3]), UTC if m[4] == "now" else m[4]))
        if m[5]:
            refers.add(f"FOREIGN KEY ({m[1]}) REFERENCES {m[5]}(id)")
    assert want == p.pg.sql("select a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_get_expr(d.adbin, d.adrelid)"
                            "  from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum"
                            " where a.attrelid = %s::regclass and a.attnum > 0 and not a.attisdropped order by a.attnum", table)
    assert refers == {d for d, in p.pg.sql("select pg_get_constraintdef(oid) from pg_constraint where conrelid = %s::regclass and contype = 'f'", table)}


def test_deploy_verify_revert(empty_pg):
    packkit.deploys_and_reverts(empty_pg, "shrinkage", ("public",))


def others():
    """The tables as the system's own programs make them: no defaults, and texts are varchar."""
    for table, columns in TABLES.items():
        made = ["id serial primary key"]
        for m in re.finditer(r"(\w+) (\w+)(!)?(?:=\w+)?(?:>(\w+))?(?:, |$)", columns):
            made.append(f"{m[1]} {TYPES[m[2]].replace('text', 'varchar')}")
            made[-1] += " not null" if m[3] else ""
            made[-1] += f" references {m[4]}" if m[4] else ""
        yield f"create table {table} ({', '.join(made)})"
    yield "create index on coefficients (calculation_data_id, id)"
    yield "alter table models add author varchar(20)"
    yield ("create function имя_источника(file_name text) returns text language sql immutable"
           " as 'select split_part(file_name, ''.'', 1)'")
    yield ("create function shrinkage_follow_ids() returns trigger language plpgsql"
           " as 'begin return null; end'")
    yield "create table конфигурация (имя text primary key, владелец text not null)"
    yield "insert into конфигурация values ('config', 'я')"


def test_where_its_programs_have_made_their_tables(empty_pg):
    filled = {t: re.findall(r"(\w+) \w+!?=", columns) for t, columns in TABLES.items()}
    differs = {f"public.{t}": {f"has no default for the column {c}" for c in columns}
               for t, columns in filled.items() if columns}
    differs["public.nomenclature"] |= {"has no UNIQUE (name)"}
    differs['public."имя_источника"(pg_catalog.text)'] = {"is another one"}
    differs["public.shrinkage_follow_ids()"] = {"is another one"}
    differs['public."конфигурация"'] = {"has no column тело",
                                        "has the column владелец, which every new row must say"}
    with packkit.adopted(empty_pg, "shrinkage", others(), differs):
        # what the pack has made works on the tables that were there
        for_all = "select has_function_privilege('public', 'shrinkage_follow_ids()', 'execute')"
        assert empty_pg.one(for_all)
        empty_pg.sql("select rowfs.replace('shrinkage', 'shrinkage_follow_ids')")
        assert not empty_pg.one(for_all)
        empty_pg.sql("insert into models (id, name) values (77, 'm')")
        assert empty_pg.one("insert into models (name) values ('n') returning id") == 78
        assert empty_pg.one("select string_agg(имя, ' ' order by имя) from документы") == (
            "ai_chat_settings ai_knowledge_base system_settings")
        result = ("insert into коэффициенты_усушки (источник, \"Номенклатура\", a, \"Модель\")"
                  " values ('лист', 'РЫБА', 0.5, 'linear')")
        with pytest.raises(psycopg2.errors.InvalidColumnReference):  # "its name is unique"
            empty_pg.sql(result)
        with packkit.mended(empty_pg, "shrinkage") as (cur, listed):
            assert dict(listed) == {'public."имя_источника"(pg_catalog.text)': "is another one"}
            cur.execute(result)
            cur.execute("select n.name, k.coefficient_a, d.calculation_date is not null"
                        " from coefficients k join calculation_data d on d.id = calculation_data_id"
                        " join nomenclature n on n.id = nomenclature_id")
            assert cur.fetchall() == [("РЫБА", 0.5, True)]
        empty_pg.sql("select rowfs.replace('shrinkage', 'имя_источника')")
        assert empty_pg.one("select имя_источника('а.б.xlsx')") == "а.б"
    assert empty_pg.one("select имя_источника('а.б.xlsx')") == "а"
    assert empty_pg.sql("select * from конфигурация") == [("config", "я")]
    assert empty_pg.sql("select name from models order by id") == [("m",), ("n",)]


def test_beside_other_packs(p):
    """What other packs' programs know is as it was: the same names are theirs alone."""
    for table in ("users", "sessions", "commands", "llm_answers", "screenshots", "performance_metrics", "orderbook_data", "tokens.tokens"):
        assert p.pg.one("select to_regclass(%s) is not null", table), table
    assert p.pg.sql("select tgrelid::regclass::text from pg_trigger where tgfoid = 'update_updated_at_column'::regproc order by 1") == [
        ("sessions",), ("users",)]


def test_in_another_schema(empty_pg):
    """It goes to the first schema of the search path, and needs it no more afterwards."""
    empty_pg.sql(f'create schema "Склад"; alter database {empty_pg.name} set search_path = "Склад", public')
    empty_pg.close()
    for project in ("schema/core", "schema/shrinkage"):
        sqitch(empty_pg, "deploy", project=project)
    assert empty_pg.sql("select distinct relnamespace::regnamespace::text from pg_class where relkind in ('r', 'v', 'S') and relnamespace >= 16384"
                        " and relnamespace <> to_regnamespace('rowfs')") == [('"Склад"',)]
    empty_pg.sql("set search_path = pg_catalog")
    empty_pg.sql('insert into "Склад".коэффициенты_усушки (источник, "Номенклатура", a, "Модель") values (\'лист\', \'РЫБА\', 0.5, \'linear\')')
    empty_pg.sql('update "Склад".коэффициенты_усушки set a = 0.25')
    assert empty_pg.sql('select n.name, k.coefficient_a from "Склад".coefficients k, "Склад".nomenclature n') == [("РЫБА", 0.25)]
    empty_pg.sql('insert into "Склад".models (id, name) values (77, \'m\')')
    assert empty_pg.one('insert into "Склад".models (name) values (\'n\') returning id') == 78


def test_sequences_follow_ids(p):
    def given(number):
        p.pg.sql("insert into priority_periods (id) values (%s)", number)

    def drawn():
        return p.pg.one("insert into priority_periods default values returning id")
    first = drawn()
    given(first + 10)
    assert drawn() == first + 11
    given(first + 5)
    assert drawn() == first + 12
    given(first + 1000000)
    assert drawn() == first + 1000001
    p.pg.sql("insert into priority_periods (id) select %s + n from generate_series(1, 3) n", first + 1000001)
    assert drawn() == first + 1000005


def test_sequences_follow_ids_beside_writers(p):
    """Another writer draws numbers while ids just ahead of them are given: no number is drawn twice."""
    drawn = []

    def draw():
        with contextlib.closing(psycopg2.connect(p.pg.conninfo)) as conn, conn.cursor() as cur:
            cur.execute("select count(*), count(distinct n) from (select nextval('feedback_preferences_id_seq') n from generate_series(1, 1500000)) x")
            drawn.extend(cur.fetchone())
    thread = threading.Thread(target=draw)
    thread.start()
    while thread.is_alive():
        p.pg.sql("do $$ begin for n in 1 .. 500 loop insert into feedback_preferences (id) select last_value + n from feedback_preferences_id_seq"
                 " on conflict do nothing; end loop; end $$")
    thread.join()
    assert drawn == [1500000, 1500000]


def test_a_writer_without_a_right_to_the_sequence(p):
    p.pg.server.admin("drop role if exists clerk")
    p.pg.server.admin("create role clerk login")
    p.pg.sql("grant insert on models to clerk")
    try:
        with psycopg2.connect(p.pg.conninfo.replace("user=keeper", "user=clerk")) as conn, conn.cursor() as cur:
            cur.execute("insert into models (id, name) values (400, 'm')")
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                cur.execute("create temp table t (id int); create trigger x after insert on t referencing new table as fresh"
                            " for each statement execute function shrinkage_follow_ids()")
    finally:
        p.pg.sql("revoke insert on models from clerk")
        p.pg.server.admin("drop role clerk")
    assert p.pg.one("insert into models (name) values ('n') returning id") == 401


# -- the page and the demo data ---------------------------------------------------------------------------------------


def test_examples_of_the_page(p):
    packkit.examples(p)


def test_demo(p):
    assert packkit.demo(p) > 60


# -- positions, sources, models ---------------------------------------------------------------------------------------


def test_a_position(p):
    name, top = "СЫР \"ГОЛЛАНДСКИЙ\", 45 % Х/К", "номенклатура/СЫР \"ГОЛЛАНДСКИЙ\", 45 % Х%2FК"
    p.m.mkdir(top)
    p.m.write(f"{top}/тип.txt", "сыр")
    p.m.write(f"{top}/карточка.json", {"product_type_code": "Х/К"})
    assert p.pg.sql("select product_type, product_type_code from nomenclature where name = %s", name) == [("сыр", "Х/К")]
    assert p.m.json(f"{top}/карточка.json")["name"] == name
    p.m.append(f"{top}/расчёты.jsonl", json.dumps({"initial_balance": 1.5, "calculation_date": "2024-02-29T15:39:06.123456", "fifo_batch_sequence": [
        {"партия": "П-0", "qty": 2.5, "ok": True, "x": None}]}, ensure_ascii=False) + "\n")
    p.m.append(f"{top}/расчёты.csv", "2024-03-01 00:00:00,1.5,2.25,1.0,2.75,7\n")
    rows = p.pg.sql("select c.id, initial_balance, storage_days, calculation_date::text, fifo_batch_sequence from calculation_data c join nomenclature n"
                    " on n.id = nomenclature_id where n.name = %s order by c.id", name)
    assert [r[1:] for r in rows] == [(1.5, None, "2024-02-29 15:39:06.123456", [{"партия": "П-0", "qty": 2.5, "ok": True, "x": None}]),
                                     (1.5, 7, "2024-03-01 00:00:00", None)]
    first = rows[0][0]
    p.m.write(f"{top}/расчёты/{first}/расчёт.json", {"storage_days": 3})
    p.m.append(f"{top}/расчёты/{first}/ошибки.jsonl", '{"error_type": "Нулевая усушка"}\n')
    p.m.append(f"{top}/расчёты/{first}/коэффициенты.jsonl", '{"coefficient_a": 0.015}\n')
    p.m.append(f"{top}/излишки.jsonl", '{"surplus_percentage": 1.5}\n')
    assert p.pg.sql("select storage_days, error_type, resolved, coefficient_a from calculation_data c, validation_errors e, coefficients k"
                    " where c.id = %s and e.calculation_data_id = c.id and k.calculation_data_id = c.id", first) == [(3, "Нулевая усушка", False, 0.015)]
    assert p.pg.sql("select surplus_percentage, is_active from surplus_specifications s join nomenclature n on n.id = nomenclature_id"
                    " where n.name = %s", name) == [(1.5, True)]
    assert p.m.json(f"{top}/статистика.json") == {"name": name, "calculation_count": 2, "avg_accuracy": 0, "error_count": 1}
    assert [r["id"] for r in csv.DictReader(io.StringIO(p.m.read("по_дням/29.02.2024.csv")))] == [str(first)]
    p.m.append("по_дням/29.02.2024.csv", "calculation_date,storage_days\n2024-02-29 23:59:59,9\n")
    assert p.pg.one("select storage_days from calculation_data where calculation_date = '2024-02-29 23:59:59'") == 9
    with refused(errno.ENOTEMPTY):
        os.rmdir(p.m.at(top))
    assert p.pg.one("select count(*) from nomenclature where name = %s", name) == 1


def test_sources_and_models(p):
    p.m.mkdir("источники/7000")
    p.m.write("источники/7000/источник.json", {"file_name": "лист.xlsx", "file_path": "исходные/лист.xlsx", "quality_score": 0.5})
    p.m.append("источники/7000/расчёты.jsonl", '{"storage_days": 70}\n')
    p.m.mkdir("модели/7000")
    p.m.write("модели/7000/модель.json", {"name": "m", "model_type": "linear"})
    p.m.append("модели/7000/коэффициенты.jsonl", '{"coefficient_a": 0.5}\n')
    assert p.pg.sql("select s.processed, c.storage_days, m.model_type, k.coefficient_a from source_data s, calculation_data c, models m, coefficients k"
                    " where s.id = 7000 and c.source_data_id = s.id and m.id = 7000 and k.model_id = m.id") == [(False, 70, "linear", 0.5)]
    assert p.m.json("источники/7000/источник.json")["file_path"] == "исходные/лист.xlsx"
    assert p.m.jsonl("модели/7000/коэффициенты.jsonl")[0]["coefficient_a"] == 0.5


# -- files of the programs --------------------------------------------------------------------------------------------


def stored(p, source):
    return p.pg.sql("select n.name, coefficient_a, coefficient_b, coefficient_c, accuracy_r2, m.model_type, storage_days, actual_deduction_batch"
                    "  from coefficients k join calculation_data c on c.id = calculation_data_id join nomenclature n on n.id = nomenclature_id"
                    "  join models m on m.id = model_id join source_data s on s.id = source_data_id where s.file_name = %s order by k.id", source)


def test_results(p):
    """Written whole by json.dump, read by json.load; the rows are those of the tables."""
    stem = "Отчёт 01.02.25, склад 1. 4c1c4b0e-5a3c-4b9e-9d5c-1f0f6f6f6f6f"
    path = p.m.at(f"результаты/коэффициенты_усушки_{stem}_анализ.json")
    assert load(path) is None
    dump_to(path, RESULT)
    want = [tuple(r.get(k) for k in (*RESULT[0], "Учет_излишка")) for r in RESULT]
    assert stored(p, f"{stem}.xlsx") == want
    assert load(path) == [{**r, "Учет_излишка": r.get("Учет_излишка")} for r in RESULT]
    ids = p.pg.sql("select id from coefficients order by id")
    dump_to(path, RESULT)  # the same again is no change
    assert p.pg.sql("select id from coefficients order by id") == ids
    other = [{**RESULT[0], "a": 0.5, "Модель": "linear"}, {**RESULT[1], "Номенклатура": "НОВАЯ"}]
    dump_to(path, other)
    assert stored(p, f"{stem}.xlsx") == [tuple(r.get(k) for k in (*RESULT[0], "Учет_излишка")) for r in other]
    dump_to(path, RESULT[:1])
    assert [r["Номенклатура"] for r in load(path)] == [RESULT[0]["Номенклатура"]] and len(stored(p, f"{stem}.xlsx")) == 1


def test_a_result_that_is_gone_brings_no_older_one_back(p):
    path = p.m.at("результаты/коэффициенты_усушки_дважды_анализ.json")
    dump_to(path, RESULT)
    p.pg.sql("insert into coefficients (calculation_data_id, model_id, coefficient_a) select calculation_data_id, model_id, 9 from coefficients k"
             " join calculation_data c on c.id = calculation_data_id join source_data s on s.id = source_data_id where file_name = 'дважды.xlsx'")
    assert [r["a"] for r in load(path)] == [9, 9]
    dump_to(path, RESULT[:1])
    assert [r["Номенклатура"] for r in load(path)] == [RESULT[0]["Номенклатура"]]


def test_an_analysis(p):
    path = p.m.at("результаты/анализ_Март 2025.json")
    dump_to(path, ANALYSIS)
    assert load(path) == ANALYSIS
    assert p.pg.sql('select "Номенклатура", "Приход", "Период_хранения_дней" from результаты_анализа where имя = %s', "Март 2025") == [("РЫБА", 2.25, 7)] * 2


def test_results_in_csv(p):
    """As pandas writes them, and as a CSV reader reads them."""
    for name, lines in {
        "коэффициенты_усушки_01.02.25-07.02.25.csv": [
            ["Номенклатура", "a", "b (день⁻¹)", "c", "Примечание"],
            ["РЫБА В Г/К", "0.02", "0.05", "-0.001", "Расчет по данным за период 01.02.25-07.02.25. Усушка 0.100 кг, за 7 дней."]],
        "предварительный_расчет_усушки.csv": [
            ["Номенклатура", "Начальный_остаток_кг", "Прогнозируемая_усушка_кг", "Конечный_остаток_кг", "a", "b", "c"],
            ["РЫБА, 1 сорт", "1.5", "0.1", "1.4", "0.02", "0.05", "0.25"], ["СЫР", "1.5", "", "", "", "", ""]]}.items():
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(lines)
        with open(p.m.at(f"результаты/{name}"), "w", encoding="utf-8", newline="") as f:
            f.write(text.getvalue())
        with open(p.m.at(f"результаты/{name}"), encoding="utf-8", newline="") as f:
            assert list(csv.reader(f)) == lines
    assert p.pg.sql('select "Номенклатура", a, "b (день⁻¹)", c from улучшенные_коэффициенты where период = %s', "01.02.25-07.02.25") == [
        ("РЫБА В Г/К", 0.02, 0.05, -0.001)]
    assert p.pg.sql('select "Номенклатура", "Конечный_остаток_кг", c from предварительный_расчет order by seq') == [
        ("РЫБА, 1 сорт", 1.4, 0.25), ("СЫР", None, None)]


def test_the_chat(p):
    """The whole list at each message; equal messages are legal, clearing writes []."""
    path = p.m.at("результаты/ai_chat_history.json")
    dump_to(path, [])
    for n in range(4):
        history = load(path, [])
        assert len(history) == n
        history.append({"role": "user", "content": "при\nвет", "timestamp": "2025-08-30T03:17:43.123456"} if n < 3 else
                       {"role": "assistant", "content": "да", "timestamp": "2025-08-30T03:17:44"})
        dump_to(path, history)
    assert load(path) == history
    assert p.pg.sql("select role, content, timestamp from ai_chat_history order by seq") == [tuple(h.values()) for h in history]
    dump_to(path, [])
    assert load(path) == [] and p.pg.one("select count(*) from ai_chat_history") == 0


def test_lists_and_ratings(p):
    feedback = [{"message_id": "msg_1", "feedback": "отлично", "timestamp": "2025-08-30"}] * 2
    ratings = {"chat_1": {"rating": 5, "comment": "хорошо", "timestamp": "x"}, "chat_2": {"rating": 1, "comment": None, "timestamp": None}}
    training = [{"input": "вопрос", "output": "ответ", "rating": 5}]
    for name, value in (("user_feedback", feedback), ("chat_ratings", ratings), ("ai_training_data", training)):
        dump_to(p.m.at(f"результаты/{name}.json"), value)
        assert load(p.m.at(f"результаты/{name}.json")) == value, name
    assert p.pg.sql("select message_id, feedback from user_feedback") == [("msg_1", "отлично")] * 2
    assert p.pg.sql("select chat_id, rating, comment from chat_ratings order by 1") == [("chat_1", 5, "хорошо"), ("chat_2", 1, None)]
    assert p.pg.sql("select input, output, rating from ai_training_data") == [("вопрос", "ответ", 5)]


@pytest.mark.parametrize("name", ["ai_chat_settings", "ai_knowledge_base", "system_settings"])
def test_settings(p, name):
    """Absent: the program starts with its defaults and writes them. 50.0 stays a float."""
    path = p.m.at(f"результаты/{name}.json")
    p.pg.sql("update документы set тело = null where имя = %s", name)
    assert load(path, "none") == "none"
    value = {"model_type": "linear", "default_period": 7, "min_accuracy": 50.0, "theme": "light", "output_dir": "результаты", "x": math.nan}
    dump_to(path, value, default=str)
    want = json.dumps(value, ensure_ascii=False, indent=2)
    assert get(path).decode() == want == p.pg.one("select тело from документы where имя = %s", name)
    assert isinstance(load(path)["min_accuracy"], float)
    backup = f"{path}.backup_20251130_010000"
    shutil.copy2(path, backup)
    dump_to(path, {})
    shutil.copy2(backup, path)
    assert get(path).decode() == want
    if name == "system_settings":
        p.again()
        assert get(path).decode() == want


def test_the_window(p):
    path = p.m.at("config.json")
    p.pg.sql("update конфигурация set тело = null")
    assert load(path) is None
    dump_to(path, {"last_input_file": "C:/лист_1.csv", "window_geometry": "1200x800+100+50", "max_workers": 4})
    assert load(path)["max_workers"] == 4 and json.loads(p.pg.one("select тело from конфигурация where имя = 'config'"))["max_workers"] == 4
    assert "config.json" not in p.m.ls("результаты")


@pytest.mark.parametrize("table", TABLES)
def test_exports(p, table):
    """The header is the table's columns; a row that another writer inserts is there, and a line that is appended is a row."""
    columns = ["id", *(w.split()[0] for w in TABLES[table].split(", "))]
    needed = [w.split()[0] for w in TABLES[table].split(", ") if "!" in w]
    number = p.pg.one("select nextval(pg_get_serial_sequence(%s, 'id'))", table) + 10
    p.pg.sql(f"insert into {table} ({', '.join(['id', *needed])}) values ({', '.join(['%s'] * (1 + len(needed)))})", number, *["один"] * len(needed))
    p.m.append(f"exports/{table}.csv", ",".join(["id", *needed]) + "\n" + ",".join([str(number + 1), *["два"] * len(needed)]) + "\n")
    lines = list(csv.reader(io.StringIO(p.m.read(f"exports/{table}.csv"))))
    assert lines[0] == columns
    assert [r[0] for r in lines[-2:]] == [str(number), str(number + 1)]
    assert p.pg.one(f"select count(*) from {table} where id in (%s, %s)", number, number + 1) == 2
    assert p.pg.one(f"insert into {table} ({', '.join(needed) or 'id'}) values ({', '.join(['%s'] * len(needed)) or 'default'}) returning id",
                    *["три"] * len(needed)) == number + 2


def test_an_export_of_pandas(p):
    """What pandas writes and PostgreSQL reads: True, T in times, 2.0 in a column of floats, inf, empty fields."""
    p.m.append("exports/calculation_data.csv",
               "id,initial_balance,final_balance,calculation_date,data_quality_flag,is_valid_inventory_period,fifo_principle_applied,storage_days\n"
               "95001,1.0,inf,2025-08-29T15:39:06.123456,clean,True,False,7\n95002,,,,,,,\n")
    assert p.pg.sql("select initial_balance, final_balance, calculation_date::text, is_valid_inventory_period, fifo_principle_applied, storage_days"
                    " from calculation_data where id in (95001, 95002) order by id") == [
        (1.0, math.inf, "2025-08-29 15:39:06.123456", True, False, 7), (None,) * 6]


def test_a_table_of_one_export_is_written_anew(p):
    """O_TRUNC and all rows: those that are the same stay, others are changed, inserted and deleted."""
    p.pg.sql("delete from forecasts")
    p.m.write("exports/forecasts.csv", "id,forecast_value\n1,0.5\n2,0.25\n")
    p.m.write("exports/forecasts.csv", "id,forecast_value\n2,0.75\n3,1.0\n")
    assert p.pg.sql("select id, forecast_value from forecasts order by id") == [(2, 0.75), (3, 1.0)]


# -- what does not work yet: exactly the rows of the page's list ------------------------------------------------------


def yet_whole_numbers(p):
    name, line = "exports/calculation_data.csv", "96001,7.0"
    p.m.refuses(lambda: p.m.append(name, f"id,storage_days\n{line}\n96002,7\n"), errno.EINVAL, "storage_days", keeps=line)
    assert p.pg.sql("select id, storage_days from calculation_data where id in (96001, 96002)") == [(96002, 7)]


def yet_repr(p):
    name, line = "exports/calculation_data.csv", "96003,\"[{'партия': 'П-0', 'ok': True, 'x': None}]\""
    p.m.refuses(lambda: p.m.append(name, f"id,fifo_batch_sequence\n{line}\n96004,[]\n"), errno.EINVAL, "json", keeps=line)
    assert p.pg.sql("select id from calculation_data where id in (96003, 96004)") == [(96004,)]


def yet_read_back(p):
    p.pg.sql("insert into calculation_data (id, storage_days, is_valid_inventory_period, calculation_date) values (96005, 7, true, '2025-08-29 15:39:06')")
    line = next(r for r in csv.DictReader(io.StringIO(p.m.read("exports/calculation_data.csv"))) if r["id"] == "96005")
    assert (line["storage_days"], line["is_valid_inventory_period"], line["calculation_date"]) == ("7", "true", "2025-08-29 15:39:06")


def yet_rows_that_others_refer_to(p):
    p.pg.sql("insert into models (id, name) values (96006, 'm'); insert into coefficients (model_id) values (96006)")
    before, text = p.pg.sql("select id, name from models order by id"), "id,name\n96007,n\n"
    p.m.refuses(lambda: p.m.write("exports/models.csv", text), errno.ENOENT, "refer", keeps=text)
    assert p.pg.sql("select id, name from models order by id") == before


def yet_nan(p):
    path, text = p.m.at("результаты/коэффициенты_усушки_нечисло_анализ.json"), json.dumps([{**RESULT[0], "a": math.nan}], ensure_ascii=False)
    dump_to(path, RESULT)
    p.m.refuses(lambda: p.m.write("результаты/коэффициенты_усушки_нечисло_анализ.json", text), errno.EINVAL, "JSON", keeps=text)
    assert len(load(path)) == 2 and len(stored(p, "нечисло.xlsx")) == 2


def yet_results_read_back(p):
    path = p.m.at("результаты/коэффициенты_усушки_назад_анализ.json")
    dump_to(path, RESULT[:1])
    text = get(path).decode()
    assert '"Точность": 100,' in text and '"Учет_излишка": null' in text and text.startswith('[\n    {')


def yet_other_results(p):
    text, before = json.dumps(RESULT, ensure_ascii=False, indent=2), p.m.rejected()
    names = [f"результаты/{n}.json" for n in ("коэффициенты_усушки_лист_верификация", "детальные_коэффициенты_усушки_лист", "shrinkage_results_real_data",
                                             "лист_1")]
    for name in names:
        p.m.write(name, text, sync=True)
        assert p.m.read(name) == text
    p.again()
    assert not any(p.m.exists(n) for n in names)
    kept = [body.decode() for key, body in p.m.rejected().items() if key not in before]
    assert kept == [text] * len(names)
    p.pg.sql("insert into документы (имя) values ('лист_1')")
    p.m.write("результаты/лист_1.json", text)
    assert p.pg.one("select тело from документы where имя = 'лист_1'") == text


def yet_plain(p):
    names = ["результаты/system_settings.json.backup_20251130_010000", "результаты/необработанные_позиции.html", "logs/project_2025-11-30.log",
             "temp/x_лист.xlsx", "backups/shrinkage_database.db_20251130_010000.bak"]
    for name in names:
        os.makedirs(os.path.dirname(p.m.at(name)), exist_ok=True)
        p.m.write(name, "x", sync=True)
        assert p.m.read(name) == "x"
    p.again()
    assert not any(p.m.exists(n) for n in names)


def yet_organiser(p):
    """It makes directories and moves every file into one of them; later it removes what is old."""
    dump_to(p.m.at("результаты/system_settings.json"), {"min_accuracy": 50.0})
    dump_to(p.m.at("результаты/коэффициенты_усушки_переезд_анализ.json"), RESULT)
    dump_to(p.m.at("результаты/ai_chat_history.json"), [{"role": "user", "content": "c", "timestamp": "t"}])
    dump_to(p.m.at("результаты/анализ_переезд.json"), ANALYSIS)
    os.makedirs(p.m.at("результаты/архив_результатов"), exist_ok=True)
    there = [n for n in p.m.ls("результаты") if os.path.isfile(p.m.at(f"результаты/{n}"))]
    assert len(there) > 6
    for name in there:
        before = p.m.bytes(f"результаты/{name}")
        p.m.refuses(lambda name=name: shutil.move(p.m.at(f"результаты/{name}"), p.m.at(f"результаты/архив_результатов/{name}")), errno.EPERM, "remove")
        p.m.refuses(lambda name=name: os.unlink(p.m.at(f"результаты/{name}")), errno.EPERM, "remove")
        assert p.m.bytes(f"результаты/{name}") == before, name
    assert len(stored(p, "переезд.xlsx")) == 2
    for name in p.m.ls("результаты/архив_результатов"):
        rm(p.m.at(f"результаты/архив_результатов/{name}"))
    os.rmdir(p.m.at("результаты/архив_результатов"))


NOT_YET = [yet_whole_numbers, yet_repr, yet_read_back, yet_rows_that_others_refer_to, yet_nan, yet_results_read_back, yet_other_results, yet_plain,
           yet_organiser]


@pytest.mark.parametrize("number", range(len(NOT_YET)), ids=[f.__name__ for f in NOT_YET])
def test_what_does_not_work_yet(p, number):
    assert len(packkit.not_yet("shrinkage")) == len(NOT_YET)
    NOT_YET[number](p)


def test_reverted_after_a_mount(p, template):
    """Last, since the others need it: what mounts have added holds nothing back, and other packs' objects stay."""
    p.m.umount()
    sqitch(p.pg, "revert", "-y", project="schema/shrinkage")
    there = ("select relname::text from pg_class where relnamespace = 'public'::regnamespace and relname !~ '^orderbook' union"
             " select proname::text from pg_proc where pronamespace = 'public'::regnamespace order by 1")
    assert p.pg.sql(there) == p.pg.server.admin(there, dbname=template.name)
    assert p.pg.one("select count(*) from orderbook_data") == 0
