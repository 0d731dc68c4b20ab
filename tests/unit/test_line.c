/* Lines of CSV: tables of cases, and random input against a model that is written in another way. */
#include "tests/unit/linekit.h"

#include <errno.h>
#include <regex.h>
#include <time.h>

enum { BOOK_COLUMNS = 8, MOST = 1 << 20 };

static struct column book[BOOK_COLUMNS];
static struct field_rule book_rules[BOOK_COLUMNS];

static void book_init(void) {
	static const char *const numbers[] = { "ask_amount", "ask_price", "bid_price",
					       "bid_amount" };
	book[0] = kit_column("exchange", VARCHAR(50), 'S', true);
	book[1] = kit_column("symbol", VARCHAR(20), 'S', true);
	book[2] = kit_column("timestamp", PLAIN("bigint"), 'N', true);
	book[3] = kit_column("local_timestamp", PLAIN("bigint"), 'N', true);
	for (int i = 0; i < 4; i++)
		book[4 + i] = kit_column(numbers[i], NUMERIC(20, 8), 'N', false);
}

/* -- rules ------------------------------------------------------------------------------------- */

static void test_rules(void) {
	struct column domain = kit_column("d", PLAIN("price"), 'N', false);
	struct column padded = kit_column("c", "character", 14, 'S', false);
	domain.base = (char *)(uintptr_t) "numeric";
	CHECK_INT(field_rule_of(&book[0]).kind, FIELD_TEXT);
	CHECK_INT(field_rule_of(&book[0]).max_chars, 50);
	CHECK_INT(field_rule_of(&book[2]).bits, 64);
	CHECK_INT(field_rule_of(&book[4]).precision, 20);
	CHECK_INT(field_rule_of(&book[4]).scale, 8);
	CHECK_INT(field_rule_of(&domain).kind, FIELD_SERVER);
	CHECK_INT(field_rule_of(&padded).kind, FIELD_SERVER);
	struct column hundreds = kit_column("h", NUMERIC(5, -2), 'N', false);
	CHECK_INT(field_rule_of(&hundreds).scale, -2);
	struct column any = kit_column("n", PLAIN("numeric"), 'N', false);
	CHECK_INT(field_rule_of(&any).precision, -1);
	struct column text = kit_column("t", PLAIN("text"), 'S', false);
	CHECK_INT(field_rule_of(&text).max_chars, -1);
}

/* -- one line ---------------------------------------------------------------------------------- */

struct line_case {
	const char *line;
	int rc;
	const char *why;
};

static void run_cases(struct line_checker *c, const struct line_case *cases, size_t n) {
	for (size_t i = 0; i < n; i++) {
		AUTO_BUF struct buf why = { 0 };
		int rc = line_check(c, cases[i].line, strlen(cases[i].line), &why);
		if (!CHECK(rc == cases[i].rc))
			fprintf(stderr, "%s: %d: %s\n", cases[i].line, rc,
				why.data != NULL ? why.data : "");
		if (rc != 0)
			CHECK_HAS(why.data, cases[i].why);
	}
}

#define ROW(tail) "binance-futures,BTCUSDT,1758365391602000,1795223698250993," tail

static const struct line_case book_cases[] = {
	{ ROW("209.89,115660.1,,"), 0, NULL },
	{ ROW("0.0,5000.0,1e-05,1.5e+11"), 0, NULL },
	{ ROW("\"1\",\"2\",3,4"), 0, NULL },
	{ "\"a\"\"b\",\"x,y\",-0,0009,1,2,3,4", 0, NULL },
	{ "ж,\"\",1,2,,,,", 0, NULL },
	{ "", -EINVAL, "a blank line" },
	{ "\\.", -EINVAL, "end of data" },
	{ "\xef\xbb\xbf" ROW("1,2,3,4"), -EINVAL, "byte order mark" },
	{ ROW("1,2,3"), -EINVAL, "7 fields, but there are 8 columns" },
	{ "x", -EINVAL, "1 field, but" },
	{ ROW("1,2,3,4,"), -EINVAL, "9 fields, but there are 8 columns" },
	{ "exchange,symbol,timestamp,local_timestamp,ask_amount,ask_price,bid_price,bid_amount",
	  -EINVAL, "a header in the middle" },
	{ ",BTC,1,2,,,,", -EINVAL, "column exchange: empty" },
	{ "x,BTC,,2,,,,", -EINVAL, "column timestamp: empty" },
	{ "x,BTC,\"\",2,,,,", -EINVAL, "column timestamp: not a whole number" },
	{ "x,BTC, 1 ,2,,,,", -EINVAL, "column timestamp: not a whole number" },
	{ "x,BTC,+1,2,,,,", -EINVAL, "not a whole number" },
	{ "x,BTC,1e3,2,,,,", -EINVAL, "not a whole number" },
	{ "x,BTC,0x1,2,,,,", -EINVAL, "not a whole number" },
	{ "x,BTC,1_000,2,,,,", -EINVAL, "not a whole number" },
	{ "x,BTC,-,2,,,,", -EINVAL, "not a whole number" },
	{ "x,BTC,9223372036854775808,2,,,,", -EINVAL, "out of range for bigint" },
	{ "x,BTC,99999999999999999999999,2,,,,", -EINVAL, "out of range for bigint" },
	{ "x,BTC,-9223372036854775808,9223372036854775807,,,,", 0, NULL },
	{ ROW("5.,,,"), -EINVAL, "column ask_amount: not a number" },
	{ ROW(".5,,,"), -EINVAL, "not a number" },
	{ ROW("NaN,,,"), -EINVAL, "not a number" },
	{ ROW("Infinity,,,"), -EINVAL, "not a number" },
	{ ROW("-inf,,,"), -EINVAL, "not a number" },
	{ ROW("1 ,,,"), -EINVAL, "not a number" },
	{ ROW("1e,,,"), -EINVAL, "not a number" },
	{ ROW("1e+,,,"), -EINVAL, "not a number" },
	{ ROW("1e5.0,,,"), -EINVAL, "not a number" },
	{ ROW("--1,,,"), -EINVAL, "not a number" },
	{ ROW("1000000000000,,,"), -EINVAL, "out of range for numeric(20,8)" },
	{ ROW("999999999999.99999999,,,"), 0, NULL },
	{ ROW("999999999999.999999994,,,"), 0, NULL },
	{ ROW("999999999999.999999995,,,"), -EINVAL, "out of range" },
	{ ROW("1e99999999999999999999,,,"), -EINVAL, "out of range" },
	{ ROW("\"1,2,3,4"), -EINVAL, "column ask_amount: the quote does not end" },
	{ ROW("\"1\"2,3,4,5"), -EINVAL, "text behind the closing quote" },
	{ "bin\"ance,BTC,1,2,,,,", -EINVAL, "column exchange: a quote inside" },
	{ "binance,B\rTC,1,2,,,,", -EINVAL, "column symbol: a carriage return" },
	{ "a,b,1,2,,,,\ra,b,1,2,,,,", -EINVAL, "carriage return" },
	{ "bin\xff"
	  "ance,BTC,1,2,,,,",
	  -EINVAL, "byte 4 of the line is not UTF-8" },
	{ "x,12345678901234567890,1,2,,,,", 0, NULL },
	{ "x,жжжжжжжжжжжжжжжжжжжж,1,2,,,,", 0, NULL },
	{ "x,123456789012345678901,1,2,,,,", -EFBIG,
	  "column symbol: 21 characters, but it takes 20" },
	{ "x,\"12345678901234567890 \",1,2,,,,", -EFBIG, "21 characters" },
	{ "x,жжжжжжжжжжжжжжжжжжжжж,1,2,,,,", -EFBIG, "21 characters" },
};

static void test_lines(void) {
	struct line_checker c = kit_checker(book, BOOK_COLUMNS, book_rules);
	AUTO_BUF struct buf why = { 0 };
	run_cases(&c, book_cases, sizeof(book_cases) / sizeof(book_cases[0]));
	CHECK_INT(line_check(&c, "a,b\0c,1,2,,,,", 13, &why), -EINVAL);
	CHECK_HAS(why.data, "byte 4 of the line is a NUL");
	CHECK_INT(line_check(&c, ROW("0209.890,\"-0.0\",,1e3"),
			     strlen(ROW("0209.890,\"-0.0\",,1e3")), &why),
		  0);
	static const int rendered[] = { 15, 7, 16, 16, 6, 1, 0, 4 };
	for (int i = 0; i < BOOK_COLUMNS; i++)
		CHECK_INT(c.fields[i].rendered, rendered[i]);
	CHECK(c.fields[6].null && !c.fields[5].null);
	CHECK_INT(c.fields[5].raw_len, 6);
	CHECK_INT(c.fields[5].len, 4);
	line_checker_free(&c);
}

static void test_one_column(void) {
	struct column column = kit_column("note", PLAIN("text"), 'S', false);
	struct field_rule rule;
	struct line_checker c = kit_checker(&column, 1, &rule);
	static const struct line_case cases[] = {
		{ "", 0, NULL },        { "\"\"", 0, NULL }, { "\\.", -EINVAL, "end of data" },
		{ "\"\\.\"", 0, NULL }, { "\\.x", 0, NULL },
	};
	AUTO_BUF struct buf why = { 0 };
	run_cases(&c, cases, sizeof(cases) / sizeof(cases[0]));
	CHECK_INT(line_check(&c, "\"a\"\"\n,\"\"\"", 9, &why), 0);
	CHECK_INT(c.fields[0].len, 5);
	CHECK(memcmp(c.fields[0].text, "a\"\n,\"", 5) == 0);
	CHECK_INT(c.fields[0].rendered, 9);
	column.not_null = true;
	CHECK_INT(line_check(&c, "", 0, &why), -EINVAL);
	CHECK_HAS(why.data, "a blank line");
	line_checker_free(&c);
}

static void test_header(void) {
	const struct column *columns[] = { &book[0], &book[1], &book[2] };
	int order[3], n;
	bool bom;
	CHECK(line_is_header("timestamp,exchange", 18, columns, 3, order, &n, &bom));
	CHECK(n == 2 && order[0] == 2 && order[1] == 0 && !bom);
	CHECK(line_is_header("\xef\xbb\xbf\"symbol\"", 11, columns, 3, order, &n, &bom));
	CHECK(n == 1 && order[0] == 1 && bom);
	CHECK(!line_is_header("symbol,symbol", 13, columns, 3, order, &n, &bom));
	CHECK(!line_is_header("symbol,", 7, columns, 3, order, &n, &bom));
	CHECK(!line_is_header("", 0, columns, 3, order, &n, &bom));
	CHECK(!line_is_header("exchange,symbol,timestamp,symbol", 32, columns, 3, order, &n, &bom));
	CHECK(!line_is_header("exchange,\"symbol", 16, columns, 3, order, &n, &bom));
}

/* -- cutting ----------------------------------------------------------------------------------- */

/* The lines of DATA, fed in pieces of at most PIECE bytes (0: random), as "length/body " each; the bytes behind DATA are not there. */
static char *cuts(struct line_checker *c, const char *data, size_t len, int piece) {
	struct buf out = { 0 };
	struct line_scan scan = { 0 };
	size_t at = 0, have = 0, n, body;
	buf_puts(&out, "");
	while (have < len || at < len) {
		have += (size_t)(piece > 0 ? piece : 1 + kit_below(9));
		have = have < len ? have : len;
		AUTO_FREE char *bytes = malloc(have - at + 1); /* so that a read too far is seen */
		memcpy(bytes, data + at, have - at);
		size_t used = 0;
		while ((n = line_cut(c, bytes + used, have - at - used, have == len, MOST, &scan,
				     &body)) > 0) {
			buf_printf(&out, "%zu/%zu ", n, body);
			used += n;
		}
		at += used;
	}
	return buf_take(&out);
}

static void test_cuts(void) {
	struct column columns[] = { kit_column("a", VARCHAR(9), 'S', false),
				    kit_column("b", PLAIN("text"), 'S', false),
				    kit_column("c", PLAIN("integer"), 'N', false) };
	struct field_rule rules[3];
	static const struct {
		int columns;
		const char *data, *want;
	} cases[] = {
		{ 2, "a,b\nc,d\r\n", "4/3 5/3 " },
		{ 2, "a,b", "3/3 " },
		{ 2, "a,b\r", "4/3 " },
		{ 2, "a,\"b\n1,2\n", "5/4 4/3 " },
		{ 2, "a,\"b\nc\"\n1,2\n", "8/7 4/3 " },
		{ 2, "a,\"b\r\nc\"\r\n1,2\n", "10/8 4/3 " },
		{ 2, "a,\"b\n\"\"c\"", "9/9 " },
		{ 2, "a,\"b\nc\"x\n1,2\n", "5/4 4/3 4/3 " },
		{ 2, "a,\"b\nc\",d\n1,2\n", "5/4 5/4 4/3 " },
		{ 2, "\"1\n2345678\",x\n", "14/13 " },
		{ 2, "\"1\n23456789\",x\n", "3/2 12/11 " },
		{ 2, "a,x\"b\nc\"\n", "6/5 3/2 " },
		{ 2, "\n\n", "1/0 1/0 " },
		{ 3, "a,b,\"1\n2\"\n1,2,3\n", "7/6 3/2 6/5 " },
		{ 3, "a,\"b\nc\",1\n", "10/9 " },
		{ 3, "a,\"b\nc\",x\n", "5/4 5/4 " },
		{ 0, "\"a\nb\"\n", "3/2 3/2 " },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct line_checker c = kit_checker(columns, cases[i].columns, rules);
		for (int piece = 1; piece < 20; piece++) {
			AUTO_FREE char *got = cuts(cases[i].columns > 0 ? &c : NULL, cases[i].data,
						   strlen(cases[i].data), piece);
			CHECK_STR(got, cases[i].want);
		}
		line_checker_free(&c);
	}
}

/* An early verdict needs no more bytes; MOST ends the looking. */
static void test_cut_early(void) {
	struct column columns[] = { kit_column("a", VARCHAR(3), 'S', false),
				    kit_column("b", PLAIN("text"), 'S', false) };
	struct field_rule rules[2];
	struct line_checker c = kit_checker(columns, 2, rules);
	struct line_scan scan = { 0 };
	size_t body;
	CHECK_INT(line_cut(&c, "\"a\nb", 4, false, MOST, &scan, &body), 0);
	CHECK_INT(line_cut(&c, "\"a\nbc", 5, false, MOST, &scan, &body), 3);
	CHECK_INT(line_cut(&c, "a,\"b\ncdefg", 10, false, 10, &scan, &body), 0);
	CHECK_INT(line_cut(&c, "a,\"b\ncdefgh", 11, false, 10, &scan, &body), 5);
	CHECK(scan.at == 0 && scan.newline == 0);
	CHECK_INT(line_cut(&c, "a,b", 3, false, MOST, &scan, &body), 0);
	CHECK_INT(scan.at, 3); /* not looked at again */
	line_checker_free(&c);
	scan = (struct line_scan){ 0 };
	columns[1] = kit_column("b", PLAIN("date"), 'D', false);
	c = kit_checker(columns, 2, rules);
	CHECK_INT(line_cut(&c, "a,\"2\n", 5, false, MOST, &scan, &body), 5);
	line_checker_free(&c);
}

/* A megabyte byte by byte: inside quotes, of quotes, without any newline. Quadratic work would take minutes. */
static void test_cut_is_linear(void) {
	struct column columns[] = { kit_column("a", PLAIN("text"), 'S', false) };
	struct field_rule rules[1];
	struct line_checker c = kit_checker(columns, 1, rules);
	static const char *const fills[] = { "x", "\"\"", "\n", "x\n", "\"\"\n" };
	for (size_t k = 0; k < sizeof(fills) / sizeof(fills[0]); k++) {
		AUTO_BUF struct buf data = { 0 };
		struct line_scan scan = { 0 };
		size_t body, lines = 0;
		clock_t start = clock();
		buf_puts(&data, "\"");
		while (data.len < MOST)
			buf_puts(&data, fills[k]);
		buf_puts(&data, "\"\n");
		for (size_t have = 1; have <= data.len; have++)
			lines += line_cut(&c, data.data, have, false, (size_t)2 * MOST, &scan,
					  &body) > 0;
		CHECK_INT(lines, 1);
		CHECK((clock() - start) / CLOCKS_PER_SEC < 10);
	}
	line_checker_free(&c);
}

/* -- a model ----------------------------------------------------------------------------------- */

/* Columns: varchar(4) not null, text, smallint, numeric(4,2). The model takes records from the front by a grammar and compares
 * numbers as integers. */
enum { MODEL_COLUMNS = 4, MODEL_FIELD = 256 };

struct model_record {
	int n;
	char text[MODEL_COLUMNS][MODEL_FIELD];
	bool quoted[MODEL_COLUMNS];
	size_t len; /* with its line end */
};

/* One field from P; returns where it ends, NULL if it is none. */
static const char *model_field(const char *p, const char *end, char *out, bool *quoted) {
	int n = 0;
	*quoted = p < end && *p == '"';
	if (!*quoted) {
		for (; p < end && *p != ',' && *p != '\n'; p++) {
			if (*p == '\r' && p + 1 < end && p[1] == '\n')
				break;
			if (*p == '"')
				return NULL;
			out[n++] = *p;
		}
		out[n] = '\0';
		return p;
	}
	for (p++; p < end; p++) {
		if (*p == '"') {
			if (p + 1 == end || p[1] != '"')
				break;
			p++;
		}
		out[n++] = *p;
	}
	out[n] = '\0';
	return p < end ? p + 1 : NULL;
}

static bool model_record(const char *data, size_t len, struct model_record *r) {
	const char *p = data, *end = data + len;
	for (r->n = 0;;) {
		char spare[MODEL_FIELD];
		bool quoted;
		bool fits = r->n < MODEL_COLUMNS;
		p = model_field(p, end, fits ? r->text[r->n] : spare,
				fits ? &r->quoted[r->n] : &quoted);
		if (p == NULL)
			return false;
		r->n++;
		if (p < end && *p == ',') {
			p++;
			continue;
		}
		/* data without a last line end may have a carriage return for one */
		if (p < end && *p == '\r')
			p++;
		if (p < end && *p != '\n')
			return false;
		r->len = (size_t)(p - data) + (p < end);
		return true;
	}
}

static bool matches(const char *text, const char *pattern) {
	regex_t re;
	if (regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB) != 0)
		exit(1);
	bool yes = regexec(&re, text, 0, NULL, 0) == 0;
	regfree(&re);
	return yes;
}

/* Hundredths, rounded half away from zero; the input has few digits. */
static bool model_hundredths(const char *text, long long *value) {
	if (!matches(text, "^-?[0-9]+(\\.[0-9]+)?([eE][+-]?[0-9]+)?$"))
		return false;
	long double x = strtold(text, NULL);
	*value = (long long)(x * 100 + (x < 0 ? -0.5L : 0.5L) + (x < 0 ? -1e-12L : 1e-12L));
	return *value > -10000 && *value < 10000;
}

static int model_length(const char *text) {
	int n = 0;
	for (; *text != '\0'; text++)
		n += (*text & 0xc0) != 0x80;
	return n;
}

static bool model_takes(const struct model_record *r) {
	long long value;
	const char *s = r->text[2], *d = r->text[3];
	if (r->n != MODEL_COLUMNS || (r->text[0][0] == '\0' && !r->quoted[0]) ||
	    model_length(r->text[0]) > 4)
		return false;
	for (int i = 0; i < MODEL_COLUMNS; i++)
		if ((!r->quoted[i] && strchr(r->text[i], '\r') != NULL) ||
		    strchr(r->text[i], '\xff') != NULL)
			return false;
	if ((s[0] != '\0' || r->quoted[2]) &&
	    (!matches(s, "^-?[0-9]+$") || strtold(s, NULL) < -32768 || strtold(s, NULL) > 32767))
		return false;
	return (d[0] == '\0' && !r->quoted[3]) || model_hundredths(d, &value);
}

/* What a file would show: the row again, by printf. */
static int64_t model_rendered(const struct model_record *r, int column) {
	char number[64];
	long long value = 0;
	const char *text = r->text[column];
	int n = (int)strlen(text);
	if (n == 0 && !r->quoted[column])
		return 0;
	if (column == 2)
		return snprintf(number, sizeof(number), "%lld", strtoll(text, NULL, 10));
	if (column == 3) {
		if (!model_hundredths(text, &value))
			return -2;
		n = snprintf(number, sizeof(number), "%s%lld.%02lld", value < 0 ? "-" : "",
			     llabs(value) / 100, llabs(value) % 100);
		while (number[n - 1] == '0')
			n--;
		return number[n - 1] == '.' ? n - 1 : n;
	}
	if (n > 0 && strpbrk(text, ",\"\r\n") == NULL)
		return n;
	for (const char *p = text; *p != '\0'; p++)
		n += *p == '"';
	return n + 2;
}

/* The first line of DATA as the model sees it; true and R filled if it is a row. */
static bool model_line(const char *data, size_t len, struct model_record *r, size_t *cut) {
	const char *newline = memchr(data, '\n', len);
	size_t first = newline != NULL ? (size_t)(newline - data) + 1 : len;
	bool good = model_record(data, len, r) && model_takes(r);
	if (good && r->len >= first) {
		*cut = r->len;
		return true;
	}
	*cut = first;
	return model_record(data, first, r) && r->len == first && model_takes(r);
}

/* Half of the fields suit their COLUMN. */
static void put_random_field(struct buf *out, int column) {
	static const char *const words[] = { "a",    "ab",        "abcd",       "abcde", "ж",
					     "жжжж", "\"a,b\"",   "\"a\nb\"",   "\"\"",  "\"",
					     "\n",   "\r",        "\"a\"\"b\"", "\xff",  "\"x",
					     "x\"",  "NaN",       "\"1\"",      " 1",    "\"\n",
					     "\r\n", "\"жж\nж\"", "\"\"\"\"",   "+1" };
	static const char *const texts[] = { "ab", "\"a\nb\"", "\"\"\"\"", "жжж" };
	if (!kit_one_in(3)) {
		if (column < 2)
			buf_puts(out, texts[kit_below(4)]);
		else
			buf_printf(out, "%d", kit_below(column == 2 ? 1000 : 90));
		return;
	}
	if (kit_one_in(3))
		buf_puts(out, words[kit_below((int)(sizeof(words) / sizeof(words[0])))]);
	else if (kit_one_in(3))
		kit_put_digits(out, 5);
	else if (kit_one_in(3))
		buf_printf(out, "%s%d.%d%s", kit_one_in(2) ? "-" : "", kit_below(120),
			   kit_below(1000), kit_one_in(3) ? "e-1" : "");
	else if (kit_one_in(2))
		buf_printf(out, "%d", kit_below(70000) - 35000);
}

static void test_model(void) {
	struct column columns[] = { kit_column("v", VARCHAR(4), 'S', true),
				    kit_column("t", PLAIN("text"), 'S', false),
				    kit_column("s", PLAIN("smallint"), 'N', false),
				    kit_column("n", NUMERIC(4, 2), 'N', false) };
	struct field_rule rules[MODEL_COLUMNS];
	struct line_checker c = kit_checker(columns, MODEL_COLUMNS, rules);
	long rows = 0, long_rows = 0, bad = 0;
	for (int round = 0; round < 20000; round++) {
		AUTO_BUF struct buf data = { 0 }, want = { 0 }, why = { 0 };
		buf_puts(&want, "");
		for (int i = 0, n = 1 + kit_below(24); i < n; i++) {
			put_random_field(&data, i % 4);
			buf_puts(&data, i % 4 == 3 && !kit_one_in(20)
						? (kit_one_in(5) ? "\r\n" : "\n")
						: ",");
		}
		size_t cut, body, at = 0;
		struct line_scan scan = { 0 };
		for (; at < data.len; at += cut) {
			struct model_record r;
			bool good = model_line(data.data + at, data.len - at, &r, &cut);
			size_t n = line_cut(&c, data.data + at, data.len - at, true, MOST, &scan,
					    &body);
			int rc = line_check(&c, data.data + at, body, &why);
			if (!CHECK(n == cut && (rc == 0) == good))
				fprintf(stderr,
					"round %d at %zu: cut %zu, model %zu; %d, model %d: %s\n[%s]\n",
					round, at, n, cut, rc, good,
					why.data != NULL ? why.data : "", data.data);
			rows += good;
			long_rows += good && memchr(data.data + at, '\n', body) != NULL;
			bad += !good;
			for (int i = 0; i < MODEL_COLUMNS && good && rc == 0; i++) {
				CHECK_INT(c.fields[i].rendered, model_rendered(&r, i));
				CHECK(c.fields[i].len == strlen(r.text[i]) &&
				      memcmp(c.fields[i].text, r.text[i], c.fields[i].len) == 0);
			}
			buf_printf(&want, "%zu/%zu ", n, body);
		}
		AUTO_FREE char *got = cuts(&c, data.data, data.len, round % 3);
		CHECK_STR(got, want.data);
	}
	CHECK(rows > 5000 && long_rows > 300 && bad > 5000);
	line_checker_free(&c);
}

int main(void) {
	book_init();
	test_rules();
	test_lines();
	test_one_column();
	test_header();
	test_cuts();
	test_cut_early();
	test_cut_is_linear();
	test_model();
	return check_end();
}
