#include "schema/expr/line_sql.h"

#include "schema/expr/sql_build.h"

#include <string.h>

/* -- CSV --------------------------------------------------------------------------------------- */

/* Types whose text never holds a comma, a quote or a line end, and is never empty. */
static bool csv_plain(const struct column *column) {
	return column->kind == 'b' && strcmp(column->base, "money") != 0 &&
	       (strchr("NBD", column->category) != NULL || strcmp(column->base, "uuid") == 0);
}

/* COLUMN of ALIAS as a field of a CSV line; never NULL. What is counted of a line is made by
 * rowfs.csv_field(): both must agree. */
static void put_csv_field(struct buf *sql, const struct column *column, const char *alias) {
	AUTO_BUF struct buf ref = { 0 };
	bool numeric = strcmp(column->base, "numeric") == 0;
	put_of(&ref, numeric ? "pg_catalog.trim_scale(" : "", alias, column->name);
	buf_printf(&ref, "%s::text", numeric ? ")" : "");
	if (csv_plain(column))
		buf_printf(sql, "coalesce(%s, '')", ref.data);
	else
		buf_printf(
			sql,
			"coalesce(CASE WHEN %s = '' OR %s ~ E'[\",\\r\\n]' "
			"THEN '\"' || pg_catalog.replace(%s, '\"', '\"\"') || '\"' ELSE %s END, '')",
			ref.data, ref.data, ref.data, ref.data);
}

static void put_csv_line(struct buf *sql, const struct place *place, const char *alias) {
	for (int i = 0; i < place->ncolumns; i++) {
		buf_puts(sql, i > 0 ? " || ',' || " : "");
		put_csv_field(sql, place->columns[i], alias);
	}
}

static void put_csv_header(struct buf *out, const struct place *place) {
	for (int i = 0; i < place->ncolumns; i++) {
		const char *name = place->columns[i]->name;
		buf_puts(out, i > 0 ? "," : "");
		if (strpbrk(name, ",\"\r\n") == NULL) {
			buf_puts(out, name);
			continue;
		}
		buf_putc(out, '"');
		for (const char *p = name; *p != '\0'; p++)
			buf_printf(out, *p == '"' ? "\"\"" : "%c", *p);
		buf_putc(out, '"');
	}
	buf_putc(out, '\n');
}

/* Types whose output function writes what their cast to text does. */
bool prints_as_text(const struct column *column) {
	static const char *const types[] = { "smallint",
					     "integer",
					     "bigint",
					     "real",
					     "double precision",
					     "text",
					     "character varying",
					     "date",
					     "timestamp without time zone",
					     "timestamp with time zone",
					     "uuid",
					     "json",
					     "jsonb" };
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (strcmp(column->base, types[i]) == 0)
			return true;
	return false;
}

static void put_csv_fields(struct buf *sql, const struct place *place) {
	for (int i = 0; i < place->ncolumns; i++) {
		const struct column *column = place->columns[i];
		bool numeric = strcmp(column->base, "numeric") == 0;
		buf_puts(sql, i > 0 ? ", " : "");
		put_column(sql, numeric ? "pg_catalog.trim_scale(" : "", place->target,
			   column->name);
		buf_puts(sql, numeric ? ")" : prints_as_text(column) ? "" : "::text");
	}
}

/* A row q of a query, and the names of its columns, as lines. */
#define QUERY_LINE                                                                                             \
	"(SELECT pg_catalog.string_agg(CASE WHEN e.value ~ E'[\",\\r\\n]' OR e.value = '' "                    \
	"THEN '\"' || pg_catalog.replace(e.value, '\"', '\"\"') || '\"' ELSE coalesce(e.value, '') END, ',') " \
	"|| E'\\n' FROM pg_catalog.json_each_text(pg_catalog.row_to_json(q.*)) e)"
#define QUERY_HEADER                                                                                                                   \
	"(SELECT pg_catalog.string_agg(CASE WHEN e.key ~ E'[\",\\r\\n]' THEN '\"' || pg_catalog.replace(e.key, '\"', '\"\"') || '\"' " \
	"ELSE e.key END, ',') || E'\\n' FROM pg_catalog.json_each_text(pg_catalog.row_to_json(q.*)) e)"

/* -- JSON Lines -------------------------------------------------------------------------------- */

static void put_json_line(struct buf *sql, const struct place *place, const char *alias) {
	buf_puts(sql, "(SELECT pg_catalog.row_to_json(x.*)::text FROM (SELECT ");
	for (int i = 0; i < place->ncolumns; i++)
		put_of(sql, i > 0 ? ", " : "", alias, place->columns[i]->name);
	buf_puts(sql, ") x)");
}

/* -- all of them ------------------------------------------------------------------------------- */

static const struct line_sql formats[] = {
	{
		.format = &format_csv,
		.put = put_csv_line,
		.put_fields = put_csv_fields,
		.put_header = put_csv_header,
		.copy = "csv",
		.query_header = QUERY_HEADER,
		.query = "coalesce(pg_catalog.string_agg(" QUERY_LINE ", ''), '')",
	},
	{
		.format = &format_jsonl,
		.put = put_json_line,
		.put_fields = put_line_of,
		.copy = "text",
		.query = "coalesce(pg_catalog.string_agg(pg_catalog.row_to_json(q.*)::text || "
			 "E'\\n', ''), '')",
	},
};

const struct line_sql *line_sql_of(const struct place *place) {
	size_t i = 0;
	while (i + 1 < sizeof(formats) / sizeof(formats[0]) && formats[i].format != place->format)
		i++;
	return &formats[i];
}

void put_line(struct buf *sql, const struct place *place, const char *alias) {
	line_sql_of(place)->put(sql, place, alias);
}

void put_line_of(struct buf *sql, const struct place *place) {
	char alias[16];
	snprintf(alias, sizeof(alias), "t%d", place->target);
	put_line(sql, place, alias);
}
