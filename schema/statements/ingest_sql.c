#include "schema/statements/ingest_sql.h"
#include "db/quote.h"
#include "schema/expr/sql_build.h"

#include <string.h>

char *ingest_copy_sql(const struct ingest *in, const int *fields, int n) {
	AUTO_BUF struct buf sql = { 0 };
	put_relation(&sql, "COPY ", in->rel);
	put_name(&sql, " (", in->key->name);
	for (int i = 0; i < n; i++)
		put_name(&sql, ", ", in->fields[fields[i]].column->name);
	buf_puts(&sql, ") FROM STDIN (FORMAT csv)");
	return buf_take(&sql);
}

/* The value of the key NAME of the line as its column: "CAST(CAST(v->>'t' AS numeric) * 1000 AS
 * bigint)". */
static void put_value(struct buf *sql, const struct ingest_field *f, const char *name) {
	if (f->factor == NULL) {
		put_name(sql, "(q.p).", f->column->name);
		return;
	}
	buf_puts(sql, "CAST(CAST(q.v ->> ");
	db_quote_literal(sql, name);
	buf_printf(sql, "::text AS numeric) * %s::numeric AS %s)", f->factor, f->column->type);
}

/* The record of the line's keys that are not converted. */
static void put_record(struct buf *sql, const struct ingest *in, const char *const *names, int n) {
	const char *comma = "";
	put_relation(sql, "pg_catalog.json_populate_record(NULL::", in->rel);
	buf_puts(sql, ", pg_catalog.json_build_object(");
	for (int i = 0; i < n; i++) {
		int f = ingest_field(in, names[i], strlen(names[i]));
		if (f < 0 || in->fields[f].factor != NULL)
			continue;
		buf_puts(sql, comma);
		db_quote_literal(sql, in->fields[f].column->name);
		buf_puts(sql, ", e.v -> ");
		db_quote_literal(sql, names[i]);
		buf_puts(sql, "::text");
		comma = ", ";
	}
	buf_puts(sql, "))");
}

/* The keys that no field takes, as one jsonb. */
static void put_overflow(struct buf *sql, const struct ingest *in, const char *const *names,
			 int n) {
	const char *comma = "";
	buf_puts(sql, "CAST(q.v AS jsonb) - ARRAY[");
	for (int i = 0; i < n; i++) {
		if (ingest_field(in, names[i], strlen(names[i])) < 0)
			continue;
		buf_puts(sql, comma);
		db_quote_literal(sql, names[i]);
		comma = ", ";
	}
	buf_puts(sql, "]::text[]");
}

char *ingest_insert_sql(const struct ingest *in, const char *const *names, int n) {
	AUTO_BUF struct buf sql = { 0 }, values = { 0 };
	bool overflow = false;
	put_relation(&sql, "INSERT INTO ", in->rel);
	put_name(&sql, " (", in->key->name);
	for (int i = 0; i < n; i++) {
		int f = ingest_field(in, names[i], strlen(names[i]));
		overflow = overflow || f < 0;
		if (f < 0)
			continue;
		put_name(&sql, ", ", in->fields[f].column->name);
		buf_puts(&values, ", ");
		put_value(&values, &in->fields[f], names[i]);
	}
	if (overflow && in->overflow != NULL) {
		put_name(&sql, ", ", in->overflow->name);
		buf_puts(&values, ", ");
		put_overflow(&values, in, names, n);
	}
	buf_printf(&sql,
		   ") OVERRIDING SYSTEM VALUE SELECT CAST(q.id AS %s)%s FROM (SELECT e.v, i.id, ",
		   in->key->type, values.data != NULL ? values.data : "");
	put_record(&sql, in, names, n);
	buf_puts(
		&sql,
		" AS p FROM pg_catalog.json_array_elements($1::json) WITH ORDINALITY AS e(v, n)"
		" JOIN pg_catalog.json_array_elements_text($2::json) WITH ORDINALITY AS i(id, n) USING (n)"
		" OFFSET 0) AS q");
	return values.failed ? NULL : buf_take(&sql);
}

char *ingest_ids_sql(const struct ingest *in) {
	AUTO_BUF struct buf sql = { 0 }, relation = { 0 };
	put_relation(&relation, "", in->rel);
	buf_puts(
		&sql,
		"SELECT pg_catalog.string_agg(pg_catalog.nextval(s.name)::text, ',') FROM (SELECT pg_catalog.pg_get_serial_sequence(");
	db_quote_literal(&sql, relation.data != NULL ? relation.data : "");
	buf_puts(&sql, ", ");
	db_quote_literal(&sql, in->key->name);
	buf_puts(&sql,
		 ")::regclass OFFSET 0) AS s(name), pg_catalog.generate_series(1, $1::integer)");
	return relation.failed ? NULL : buf_take(&sql);
}

/* -- which rows are a file's ------------------------------------------------------------------- */

/* "r."key"", of the table's row R. */
static void put_key(struct buf *sql, const char *before, const struct ingest *in, const char *r) {
	buf_puts(sql, before);
	put_of(sql, "", r, in->key->name);
}

char *ingest_xids_sql(const struct ingest *in, bool parts, int param) {
	AUTO_BUF struct buf sql = { 0 };
	if (!in->has_proof)
		return strdup("");
	if (!parts || !in->rel->readable)
		return strdup("ARRAY[pg_catalog.pg_current_xact_id()::xid]");
	/* a part of a transaction has a number of its own */
	put_relation(&sql, "(SELECT pg_catalog.array_agg(x.xid) FROM (SELECT r.xmin AS xid FROM ",
		     in->rel);
	buf_printf(&sql, " AS r JOIN pg_catalog.unnest($%d::int8multirange) AS u(ids) ON ", param);
	put_key(&sql, "", in, "r");
	put_key(&sql, " >= pg_catalog.lower(u.ids) AND ", in, "r");
	buf_puts(&sql, " < pg_catalog.upper(u.ids) GROUP BY 1) AS x)");
	return buf_take(&sql);
}

/* Not one of those that are just being inserted: parameter PARAM, which is read once and not for
 * each row. */
static void put_not_fresh(struct buf *sql, const struct ingest *in, int param) {
	put_key(sql, " AND NOT ", in, "r");
	buf_printf(sql,
		   "::bigint OPERATOR(pg_catalog.<@) coalesce((SELECT $%d::int8multirange), '{}')",
		   param);
}

/* A row of a range is the file's if it shows the transaction that brought it; or if a later one of
 * the range does, and no two rows can have the same id: a sequence that was set back would fail
 * there. */
char *ingest_delete_sql(const struct ingest *in) {
	const struct name_list *key = relation_key(in->rel);
	AUTO_BUF struct buf sql = { 0 };
	put_own_rows(&sql, "DELETE FROM ", in->rel);
	put_key(&sql, " AS r USING (SELECT f.xids, pg_catalog.lower(u.ids) AS low, (SELECT ", in,
		"m");
	put_relation(&sql, " FROM ", in->rel);
	put_key(&sql, " AS m WHERE ", in, "m");
	put_key(&sql, " >= pg_catalog.lower(u.ids) AND ", in, "m");
	buf_puts(
		&sql,
		" < pg_catalog.upper(u.ids) AND m.xmin = ANY (f.xids) ORDER BY 1 DESC LIMIT 1) AS last"
		" FROM rowfs.file_rows AS f CROSS JOIN LATERAL pg_catalog.unnest(f.ids) AS u(ids)"
		" WHERE f.file = $1::bigint OFFSET 0) AS f WHERE ");
	put_key(&sql, "", in, "r");
	put_key(&sql, " >= f.low AND ", in, "r");
	buf_puts(&sql, " <= f.last");
	if (key == NULL || key->n > 1)
		buf_puts(&sql, " AND r.xmin = ANY (f.xids)");
	put_not_fresh(&sql, in, 2);
	return buf_take(&sql);
}

char *ingest_delete_one_sql(const struct ingest *in) {
	AUTO_BUF struct buf sql = { 0 };
	put_own_rows(&sql, "DELETE FROM ", in->rel);
	buf_puts(&sql,
		 " AS r USING rowfs.file_rows AS f WHERE f.file = $1::bigint"
		 " AND f.ids OPERATOR(pg_catalog.@>) $2::bigint AND r.xmin = ANY (f.xids) AND ");
	put_key(&sql, "", in, "r");
	buf_puts(&sql, " = $2::bigint");
	return buf_take(&sql);
}

/* "WITH own AS (the file's ranges), others AS (those of other files that may share ids with them)";
 * parameters: the file, and the one id that is asked for, or NULL. The union with nothing fetches a
 * long multirange once, and not from its TOAST table for each row. */
static void put_ranges(struct buf *sql, const struct ingest *in) {
	const char *xids = in->has_proof ? "o.xids" : "NULL::xid[]";
	buf_printf(
		sql,
		"WITH own AS MATERIALIZED (SELECT pg_catalog.unnest(ids) AS ids FROM rowfs.file_rows"
		" WHERE file = $1::bigint AND ($2::bigint IS NULL OR ids OPERATOR(pg_catalog.@>) $2::bigint)),"
		" others AS MATERIALIZED (SELECT o.ids OPERATOR(pg_catalog.+) '{}'::int8multirange AS ids, %s AS xids"
		" FROM rowfs.file_rows AS o"
		" WHERE o.file <> $1::bigint AND o.ids OPERATOR(pg_catalog.&&) (SELECT pg_catalog.int8range(pg_catalog.min(pg_catalog.lower(ids)),"
		" pg_catalog.max(pg_catalog.upper(ids))) FROM own)) ",
		xids);
}

/* R is a row with an id of OWN, and no other file's. Range by range with the index of the key,
 * whatever the planner believes of the numbers of ranges and rows: OFFSET 0 keeps it from comparing
 * each row with each range, which takes minutes when files came in at once. */
static void put_unclear(struct buf *sql, const struct ingest *in) {
	put_key(sql, "", in, "r");
	put_key(sql, " IN (SELECT m.id FROM own CROSS JOIN LATERAL (SELECT ", in, "m");
	put_relation(sql, " AS id FROM ", in->rel);
	put_key(sql, " AS m WHERE ", in, "m");
	put_key(sql, " >= pg_catalog.lower(own.ids) AND ", in, "m");
	put_key(sql, " < pg_catalog.upper(own.ids) OFFSET 0) AS m) AND ($2::bigint IS NULL OR ", in,
		"r");
	buf_puts(
		sql,
		" = $2::bigint) AND NOT EXISTS (SELECT FROM others AS o WHERE o.ids OPERATOR(pg_catalog.@>) ");
	put_key(sql, "", in, "r");
	buf_puts(sql, "::bigint AND r.xmin = ANY (o.xids))");
	put_not_fresh(sql, in, 3);
}

char *ingest_unclear_sql(const struct ingest *in) {
	AUTO_BUF struct buf sql = { 0 };
	put_ranges(&sql, in);
	put_key(&sql, "SELECT ", in, "r");
	put_relation(&sql, " FROM ", in->rel);
	buf_puts(&sql, " AS r WHERE ");
	put_unclear(&sql, in);
	buf_puts(&sql, " ORDER BY 1 LIMIT $4::integer");
	return buf_take(&sql);
}

/* "hashtextextended(ARRAY[...]::text, 0)" of what the columns of NAMES have: in the line Q, or else
 * in the table's row R. */
static void put_hash(struct buf *sql, const struct ingest *in, const char *const *names, int n,
		     bool line) {
	const char *comma = "";
	bool overflow = false;
	buf_puts(sql, "pg_catalog.hashtextextended(ARRAY[");
	for (int i = 0; i < n; i++) {
		int f = ingest_field(in, names[i], strlen(names[i]));
		overflow = overflow || f < 0;
		if (f < 0)
			continue;
		buf_printf(sql, "%s(", comma);
		if (line) {
			put_value(sql, &in->fields[f], names[i]);
		} else {
			put_name(sql, "r.", in->fields[f].column->name);
		}
		buf_puts(sql, ")::text");
		comma = ", ";
	}
	if (overflow && in->overflow != NULL) {
		buf_printf(sql, "%s(", comma);
		if (line) {
			put_overflow(sql, in, names, n);
		} else {
			put_name(sql, "r.", in->overflow->name);
		}
		buf_puts(sql, ")::text");
	}
	buf_puts(sql, "]::text, 0)");
}

char *ingest_hash_sql(const struct ingest *in, const char *const *names, int n) {
	AUTO_BUF struct buf sql = { 0 };
	buf_puts(&sql, "SELECT pg_catalog.string_agg(");
	put_hash(&sql, in, names, n, true);
	buf_puts(&sql, "::text, ',') FROM (SELECT e.v, ");
	put_record(&sql, in, names, n);
	buf_puts(&sql,
		 " AS p FROM pg_catalog.json_array_elements($1::json) AS e(v) OFFSET 0) AS q");
	return buf_take(&sql);
}

/* The table's rows R that are unclear, and say what one of the hashes does; NAMES NULL: any. */
static void put_alike(struct buf *sql, const struct ingest *in, const char *const *names, int n) {
	buf_puts(sql, " AS r WHERE ");
	put_unclear(sql, in);
	if (names == NULL)
		return;
	buf_puts(sql, " AND ");
	put_hash(sql, in, names, n, false);
	buf_puts(sql, " IN (SELECT pg_catalog.unnest($4::bigint[]))");
}

char *ingest_delete_alike_sql(const struct ingest *in, const char *const *names, int n) {
	AUTO_BUF struct buf sql = { 0 };
	put_ranges(&sql, in);
	put_own_rows(&sql, "DELETE FROM ", in->rel);
	put_alike(&sql, in, names, n);
	return buf_take(&sql);
}

char *ingest_count_alike_sql(const struct ingest *in, const char *const *names, int n) {
	AUTO_BUF struct buf sql = { 0 };
	put_ranges(&sql, in);
	put_relation(&sql, "SELECT pg_catalog.count(*) FROM ", in->rel);
	put_alike(&sql, in, names, n);
	return buf_take(&sql);
}
