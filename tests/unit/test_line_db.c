/* What the checker of lines takes, PostgreSQL takes by COPY, as the same row, and renders at the
 * length that was foretold. A number that the checker refuses is refused by the server, too. */
#include "tests/unit/linekit.h"

#include <libpq-fe.h>

enum { COLUMNS = 10, LINES = 100000, NUMBERS = 20000 };

static const struct {
	const char *name, *sql;
} kinds[COLUMNS] = {
	{ "v", "varchar(20)" },
	{ "t", "text" },
	{ "s", "smallint" },
	{ "i", "integer" },
	{ "b", "bigint" },
	{ "n", "numeric" },
	{ "n20_8", "numeric(20,8)" },
	{ "n5_2", "numeric(5,-2)" },
	{ "n3_5", "numeric(3,5)" },
	{ "must", "text NOT NULL" },
};

static struct column columns[COLUMNS];

static void columns_init(void) {
	columns[0] = kit_column("v", VARCHAR(20), 'S', false);
	columns[1] = kit_column("t", PLAIN("text"), 'S', false);
	columns[2] = kit_column("s", PLAIN("smallint"), 'N', false);
	columns[3] = kit_column("i", PLAIN("integer"), 'N', false);
	columns[4] = kit_column("b", PLAIN("bigint"), 'N', false);
	columns[5] = kit_column("n", PLAIN("numeric"), 'N', false);
	columns[6] = kit_column("n20_8", NUMERIC(20, 8), 'N', false);
	columns[7] = kit_column("n5_2", NUMERIC(5, -2), 'N', false);
	columns[8] = kit_column("n3_5", NUMERIC(3, 5), 'N', false);
	columns[9] = kit_column("must", PLAIN("text"), 'S', true);
}

static PGconn *connection;

/* Runs SQL; returns its first value as a number, 0 if it has none. */
static long run(const char *sql) {
	AUTO_RESULT PGresult *res = PQexec(connection, sql);
	ExecStatusType status = PQresultStatus(res);
	if (!CHECK(status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK)) {
		fprintf(stderr, "%.200s: %s\n", sql, PQresultErrorMessage(res));
		return -1;
	}
	return PQntuples(res) > 0 ? strtol(PQgetvalue(res, 0, 0), NULL, 10) : 0;
}

static void copy_in(const char *sql, const struct buf *data) {
	AUTO_RESULT PGresult *start = PQexec(connection, sql);
	if (!CHECK(PQresultStatus(start) == PGRES_COPY_IN))
		return;
	CHECK(PQputCopyData(connection, data->data, (int)data->len) == 1);
	CHECK(PQputCopyEnd(connection, NULL) == 1);
	for (PGresult *res; (res = PQgetResult(connection)) != NULL; PQclear(res))
		if (!CHECK(PQresultStatus(res) == PGRES_COMMAND_OK))
			fprintf(stderr, "%s", PQresultErrorMessage(res));
}

/* -- random lines ------------------------------------------------------------------------------ */

static void put_text(struct buf *out) {
	static const char *const parts[] = { "a",    "жук", " ",  "\\.",  "\\N",
					     "\\",   "😀",   "\t", "\x01", "\xef\xbb\xbf",
					     "null", "'",   ";",  "€ €" };
	static const char *const quoted[] = { "\"\"", ",", "\n", "\r\n", "\n\\.\n", "\r", "\n\n" };
	bool quotes = kit_one_in(3);
	buf_puts(out, quotes ? "\"" : "");
	for (int i = kit_below(5); i > 0; i--)
		buf_puts(out,
			 quotes && kit_one_in(2) ? quoted[kit_below(7)] : parts[kit_below(14)]);
	buf_puts(out, quotes ? "\"" : "");
}

static void put_field(struct buf *out, int column) {
	bool quotes = kit_one_in(10);
	if (column < 2 || column == 9) {
		put_text(out);
	} else if (!kit_one_in(6)) {
		buf_puts(out, quotes ? "\"" : "");
		if (kit_one_in(2))
			buf_printf(out, "%d", kit_below(column == 8 ? 1 : 90));
		else if (column < 5)
			kit_put_integer(out);
		else
			kit_put_numeric(out, kit_one_in(500) ? 140000 : 12);
		buf_puts(out, quotes ? "\"" : "");
	}
}

/* A text for COPY's text format, and a length, each with the separator that follows. */
static void put_expected(struct buf *out, const struct csv_field *field, int64_t rendered,
			 char end) {
	if (field->null) {
		buf_puts(out, "\\N");
	} else {
		for (size_t i = 0; i < field->len; i++) {
			char c = field->text[i];
			if (c == '\\' || c == '\n' || c == '\r' || c == '\t')
				buf_printf(out, "\\%c",
					   c == '\n'   ? 'n'
					   : c == '\r' ? 'r'
					   : c == '\t' ? 't'
						       : c);
			else
				buf_putc(out, c);
		}
	}
	buf_printf(out, "\t%lld%c", (long long)rendered, end);
}

static int make_lines(struct buf *csv, struct buf *expected) {
	struct field_rule rules[COLUMNS];
	struct line_checker c = kit_checker(columns, COLUMNS, rules);
	AUTO_BUF struct buf line = { 0 }, why = { 0 };
	int taken = 0;
	for (int i = 0; i < LINES; i++) {
		buf_resize(&line, 0);
		for (int k = 0; k < COLUMNS; k++) {
			buf_puts(&line, k > 0 ? "," : "");
			put_field(&line, k);
		}
		buf_resize(&why, 0);
		if (line_check(&c, line.data, line.len, &why) != 0) {
			CHECK(why.len > 0);
			continue;
		}
		taken++;
		for (int k = 0; k < COLUMNS; k++) {
			buf_add(csv, c.fields[k].raw, c.fields[k].raw_len);
			buf_putc(csv, k + 1 < COLUMNS ? ',' : '\n');
			put_expected(expected, &c.fields[k], c.rendered[k],
				     k + 1 < COLUMNS ? '\t' : '\n');
		}
	}
	line_checker_free(&c);
	return taken;
}

/* NUMBER, an expression of type text, as COPY would read it into the column: a cast would lose what
 * is too small before it rounds. */
static void put_input(struct buf *sql, const char *number, int column) {
	if (columns[column].modifier < 0 && column != 5)
		buf_printf(sql, "%s::%s", number, kinds[column].sql);
	else
		buf_printf(sql, "numeric_in(%s::cstring, 0, %d)", number, columns[column].modifier);
}

static void test_rows(void) {
	AUTO_BUF struct buf csv = { 0 }, expected = { 0 }, sql = { 0 }, names = { 0 }, raw = { 0 };
	int taken = make_lines(&csv, &expected);
	printf("%d of %d lines are taken, %zu bytes\n", taken, LINES, csv.len);
	CHECK(taken > LINES / 10);
	buf_puts(&sql, "CREATE TEMP TABLE rows (no serial");
	buf_puts(&raw, "CREATE TEMP TABLE expected (no serial");
	for (int i = 0; i < COLUMNS; i++) {
		buf_printf(&sql, ", %s %s", kinds[i].name, kinds[i].sql);
		buf_printf(&raw, ", %s text, %s_len bigint", kinds[i].name, kinds[i].name);
		buf_printf(&names, "%s%s", i > 0 ? ", " : "", kinds[i].name);
	}
	buf_printf(&sql, "); %s)", raw.data);
	run(sql.data);
	buf_resize(&sql, 0);
	buf_printf(&sql, "COPY rows (%s) FROM STDIN (FORMAT csv)", names.data);
	copy_in(sql.data, &csv);
	buf_resize(&sql, 0);
	buf_puts(&sql, "COPY expected (");
	for (int i = 0; i < COLUMNS; i++)
		buf_printf(&sql, "%s%s, %s_len", i > 0 ? ", " : "", kinds[i].name, kinds[i].name);
	buf_puts(&sql, ") FROM STDIN");
	copy_in(sql.data, &expected);
	CHECK_INT(run("SELECT count(*) FROM rows"), taken);
	CHECK_INT(run("SELECT count(*) FROM expected"), taken);
	for (int i = 0; i < COLUMNS; i++) {
		const char *name = kinds[i].name;
		bool text = columns[i].category == 'S';
		AUTO_BUF struct buf query = { 0 }, text_of = { 0 };
		buf_printf(&text_of, "e.%s", name);
		buf_printf(&query,
			   "SELECT count(*) FROM rows r JOIN expected e USING (no) "
			   "WHERE r.%s IS DISTINCT FROM ",
			   name);
		if (text)
			buf_printf(&query, "e.%s", name);
		else
			put_input(&query, text_of.data, i);
		buf_printf(&query, " OR e.%s_len <> ", name);
		if (text)
			buf_printf(
				&query,
				"coalesce(octet_length(CASE WHEN r.%s = '' OR r.%s ~ E'[\",\\r\\n]' THEN '\"' || "
				"replace(r.%s, '\"', '\"\"') || '\"' ELSE r.%s END), 0)",
				name, name, name, name);
		else
			buf_printf(&query, "coalesce(octet_length(%s(r.%s)::text), 0)",
				   i < 5 ? "" : "trim_scale", name);
		if (!CHECK_INT(run(query.data), 0))
			fprintf(stderr, "column %s\n", name);
	}
}

/* -- numbers, one by one ----------------------------------------------------------------------- */

/* Where a numeric without limits ends. */
static const char *const edges[] = { "1e131071",   "9.99e131071", "1e131072",   "0.1e131072",
				     "0.1e131073", "0e131073",    "1e-16383",   "1e-16384",
				     "1.0e-16382", "1.0e-16383",  "0.0e-16382", "0.0e-16383" };
enum { EDGES = sizeof(edges) / sizeof(edges[0]) };

/* Every number in the checker's notation gets the same verdict from the server, in every column. */
static void test_verdicts(void) {
	struct field_rule rule;
	AUTO_BUF struct buf data = { 0 }, why = { 0 };
	run("CREATE TEMP TABLE numbers (number text, input text, taken boolean);"
	    "CREATE FUNCTION pg_temp.takes(number text, input text) RETURNS boolean "
	    "LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'SELECT ' || input USING number; RETURN true; "
	    "EXCEPTION WHEN OTHERS THEN RETURN false; END $$");
	long refused = 0;
	for (int i = 0; i < NUMBERS; i++) {
		AUTO_BUF struct buf number = { 0 };
		int k = i < EDGES ? 5 : 2 + kit_below(7);
		struct line_checker c = kit_checker(&columns[k], 1, &rule);
		if (i < EDGES)
			buf_puts(&number, edges[i]);
		else if (k < 5)
			kit_put_integer(&number);
		else
			kit_put_numeric(&number, kit_one_in(50) ? 140000 : 24);
		bool taken = line_check(&c, number.data, number.len, &why) == 0;
		refused += !taken;
		buf_printf(&data, "%s\t", number.data);
		put_input(&data, "$1", k);
		buf_printf(&data, "\t%s\n", taken ? "t" : "f");
		line_checker_free(&c);
	}
	CHECK(refused > NUMBERS / 10 && refused < NUMBERS * 9 / 10);
	copy_in("COPY numbers FROM STDIN", &data);
	CHECK_INT(run("SELECT count(*) FROM numbers"), NUMBERS);
	CHECK_INT(run("SELECT count(*) FROM numbers WHERE taken <> pg_temp.takes(number, input)"),
		  0);
}

int main(void) {
	columns_init();
	connection = PQconnectdb(getenv("ROWFS_TEST_CONNINFO"));
	if (PQstatus(connection) != CONNECTION_OK) {
		fprintf(stderr, "%s", PQerrorMessage(connection));
		return 1;
	}
	run("SET client_min_messages = warning");
	test_rows();
	test_verdicts();
	PQfinish(connection);
	return check_end();
}
