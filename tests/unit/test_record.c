/* Records: tables of cases, and random input in random pieces against a model that is written in
 * another way. */
#include "util/text/record.h"
#include "tests/unit/linekit.h"

#include <errno.h>
#include <regex.h>
#include <time.h>

enum { MOST = 1 << 20 };

static void put_record(struct buf *out, enum record_kind kind, const struct record_found *found) {
	static const char *const marks[] = {
		[RECORD_HEADER] = "#", [RECORD_LONG] = "!", [RECORD_OPEN] = "?", [RECORD_REST] = "-"
	};
	const char *mark = marks[kind] != NULL ? marks[kind] : "";
	if (kind == RECORD_REST)
		return; /* in how many pieces depends on the cuts */
	buf_printf(out, "%llu:%zu/%zu%s ", (unsigned long long)found->number, found->taken,
		   found->len, mark);
}

/* The records of DATA, fed in pieces of at most PIECE bytes (0: random), as "line:length/body "
 * each; the bytes behind DATA are not there. C may be NULL: JSON Lines. HEADER: the first line of
 * CSV is one. */
static char *records(struct line_checker *c, const char *data, size_t len, int piece, size_t most,
		     bool header) {
	struct buf out = { 0 };
	struct record_reader r;
	struct record_found found;
	enum record_kind kind;
	size_t at = 0, have = 0;
	buf_puts(&out, "");
	record_begin(&r, c != NULL ? &format_csv : &format_jsonl, most);
	while (have < len) {
		have += (size_t)(piece > 0 ? piece : 1 + kit_below(9));
		have = have < len ? have : len;
		AUTO_FREE char *bytes = malloc(have - at + 1); /* so that a read too far is seen */
		memcpy(bytes, data + at, have - at);
		size_t used = 0;
		while ((kind = record_next(&r, bytes + used, have - at - used,
					   have == len ? RECORD_END : RECORD_MORE, &found)) !=
		       RECORD_NONE) {
			if (kind == RECORD_FIRST) {
				record_fields(&r, c, header);
				continue;
			}
			/* the length of a line that is too long may not be known yet */
			if (kind == RECORD_LONG)
				buf_printf(&out, "%llu:%zu! ", (unsigned long long)found.number,
					   found.len);
			else
				put_record(&out, kind, &found);
			used += found.taken;
		}
		at += used;
	}
	CHECK_INT(at, len);
	return buf_take(&out);
}

struct record_case {
	int columns; /* 0: JSON Lines */
	bool header;
	size_t most;
	const char *data, *want;
};

static const struct record_case cases[] = {
	{ 2, false, MOST, "a,b\nc,d\r\n", "1:4/3 2:5/3 " },
	{ 2, false, MOST, "a,b", "1:3/3 " },
	{ 2, false, MOST, "a,b\r", "1:4/3 " },
	{ 2, true, MOST, "a,b\n1,2\n", "1:4/3# 2:4/3 " },
	{ 2, true, MOST,
	  "\xef\xbb\xbf"
	  "a,b\n1,2\n",
	  "1:7/3# 2:4/3 " },
	{ 2, false, MOST, "\xef\xbb\xbf\"a\nb\",1\n1,2\n", "1:11/7 3:4/3 " },
	{ 2, false, MOST, "\xef\xbb\xbf", "" },
	/* a record of two lines, also as the first one */
	{ 2, false, MOST, "a,\"b\nc\"\n1,2\n", "1:8/7 3:4/3 " },
	{ 2, false, MOST, "a,\"b\r\nc\"\r\n1,2\n", "1:10/8 3:4/3 " },
	{ 2, false, MOST, "a,\"b\n\"\"c\"", "1:9/9 " },
	{ 3, false, MOST, "a,\"b\nc\",1\n", "1:10/9 " },
	/* a quote that is stray: text behind the closing one, too many fields or characters, a
	 * number that goes over two lines */
	{ 2, false, MOST, "a,\"b\nc\"x\n1,2\n", "1:5/4 2:4/3 3:4/3 " },
	{ 2, false, MOST, "a,\"b\nc\",d\n1,2\n", "1:5/4 2:5/4 3:4/3 " },
	{ 2, false, MOST, "\"1\n2345678\",x\n", "1:14/13 " },
	{ 2, false, MOST, "\"1\n23456789\",x\n", "1:3/2 2:12/11 " },
	{ 2, false, MOST, "a,x\"b\nc\"\n", "1:6/5 2:3/2 " },
	{ 3, false, MOST, "a,b,\"1\n2\"\n1,2,3\n", "1:7/6 2:3/2 3:6/5 " },
	{ 3, false, MOST, "a,\"b\nc\",x\n", "1:5/4 2:5/4 " },
	{ 2, false, MOST, "\n\n", "1:1/0 2:1/0 " },
	/* a quote that does not end: stray if a line behind it is good by itself */
	{ 2, false, MOST, "a,\"b\n1,2\n", "1:5/4 2:4/3 " },
	{ 2, false, MOST, "a,\"b\nx\n1,2\n", "1:5/4 2:2/1 3:4/3 " },
	{ 2, false, MOST, "a,\"b\nx\n1,2", "1:5/4 2:2/1 3:3/3 " },
	{ 2, false, MOST, "a,\"b\nx\ny\n", "1:9/8? " },
	{ 2, false, MOST, "1,2\na,\"b\n", "1:4/3 2:5/4? " },
	{ 2, false, MOST, "a,\"b", "1:4/4 " },
	{ 1, false, MOST, "\"a\nb\nc\n", "1:7/6? " },
	{ 1, false, MOST, "x\n\"a\nb", "1:2/1 2:4/4? " },
	/* too long */
	{ 2, false, 10, "a,23456789\n1,2\n", "1:10! 2:4/3 " },
	{ 2, false, 10, "a,2345678\n1,2\n", "1:10/9 2:4/3 " },
	{ 2, false, 10, "a,\"23456789012\n1,2\n", "1:10! 2:4/3 " },
	{ 2, true, 10, "a,2345678901\na,b\n1,2\n", "1:10! 2:4/3# 3:4/3 " },
	{ 2, false, 12, "a,\"b\n1\n2\n3\n4\n5\n", "1:11/10? 5:2/1 6:2/1 " },
	{ 2, false, 12, "a,\"b\n1,2\n3,4\n5,6\n", "1:5/4 2:4/3 3:4/3 4:4/3 " },
	{ 0, false, MOST, "\"a\nb\"\n", "1:3/2 2:3/2 " },
	{ 0, false, MOST, "{}\r\n{}", "1:4/2 2:2/2 " },
	{ 0, false, 4, "{}\n12345\n{}\n", "1:3/2 2:4! 3:3/2 " },
	{ 0, false, 4, "{}\n12345678901", "1:3/2 2:4! " },
};

static void test_cases(void) {
	struct column columns[] = { kit_column("a", VARCHAR(9), 'S', false),
				    kit_column("b", PLAIN("text"), 'S', false),
				    kit_column("c", PLAIN("integer"), 'N', false) };
	struct column note = kit_column("note", PLAIN("text"), 'S', false);
	struct field_rule rules[3];
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct record_case *one = &cases[i];
		struct line_checker c =
			kit_checker(one->columns == 1 ? &note : columns, one->columns, rules);
		for (int piece = 1; piece < 24; piece++) {
			AUTO_FREE char *got =
				records(one->columns > 0 ? &c : NULL, one->data, strlen(one->data),
					piece, one->most, one->header);
			CHECK_STR(got, one->want);
		}
		line_checker_free(&c);
	}
}

/* Asks for the first record of DATA; 0 or how many bytes it takes. */
static size_t next(struct record_reader *r, const char *data, enum record_more more) {
	struct record_found found;
	return record_next(r, data, strlen(data), more, &found) != RECORD_NONE ? found.taken : 0;
}

/* What an early verdict needs, and what is known of a field that is open. */
static void test_open(void) {
	struct column columns[] = { kit_column("a", VARCHAR(3), 'S', false),
				    kit_column("b", PLAIN("text"), 'S', false) };
	struct field_rule rules[2];
	struct line_checker c = kit_checker(columns, 2, rules);
	struct record_reader r;
	record_begin(&r, &format_csv, MOST);
	record_fields(&r, &c, false);
	CHECK_INT(next(&r, "\"a\nb", RECORD_MORE), 0);
	CHECK_INT(record_open_line(&r), 1);
	CHECK_INT(next(&r, "\"a\nbc", RECORD_MORE), 3);
	CHECK_INT(record_open_line(&r), 0);
	CHECK_INT(next(&r, "a,b", RECORD_SYNC), 0);
	CHECK_INT(record_open_line(&r), 0);
	CHECK_INT(r.scan.at, 3); /* not looked at again */
	CHECK_INT(next(&r, "a,b\n", RECORD_SYNC), 4);
	/* open: a sync judges it if it can */
	CHECK_INT(next(&r, "a,\"b", RECORD_SYNC), 0);
	CHECK_INT(record_open_line(&r), 0);
	CHECK_INT(next(&r, "a,\"b\n", RECORD_SYNC), 0);
	CHECK_INT(record_open_line(&r), 3);
	CHECK_INT(next(&r, "a,\"b\nx,y", RECORD_SYNC), 0);
	CHECK_INT(next(&r, "a,\"b\nx,y\n", RECORD_MORE), 0);
	CHECK_INT(record_open_line(&r), 3);
	CHECK_INT(next(&r, "a,\"b\nx,y\n", RECORD_SYNC), 5);
	CHECK_INT(next(&r, "x,y\n", RECORD_SYNC), 4);
	/* the field that is open begins behind another one that had a line end */
	CHECK_INT(next(&r, "\"\n\",\"b\nx", RECORD_SYNC), 0);
	CHECK_INT(record_open_line(&r), 6);
	record_drop(&r, "", 0);
	CHECK_INT(next(&r, "\"\n\",\"b", RECORD_SYNC), 0);
	CHECK_INT(record_open_line(&r), 0);
	record_drop(&r, "", 0);
	CHECK_INT(next(&r, "\"\n\",\"b\nx\"\n", RECORD_SYNC), 10);
	CHECK_INT(r.lines, 7);
	line_checker_free(&c);
	columns[1] = kit_column("b", PLAIN("date"), 'D', false);
	c = kit_checker(columns, 2, rules);
	record_begin(&r, &format_csv, MOST);
	record_fields(&r, &c, false);
	CHECK_INT(next(&r, "a,\"2\n", RECORD_MORE), 5);
	line_checker_free(&c);
}

/* Lines that were taken before are passed over, whatever they are. */
static void test_pass(void) {
	struct column note = kit_column("note", PLAIN("text"), 'S', false);
	struct field_rule rule;
	struct line_checker c = kit_checker(&note, 1, &rule);
	static const char data[] = "\"a\nb\nlonger than the most\nc\n";
	for (size_t piece = 1; piece < sizeof(data); piece++) {
		struct record_reader r;
		struct record_found found;
		size_t at = 0, n = 0;
		record_begin(&r, &format_csv, 8);
		record_fields(&r, &c, false);
		r.pass = 3;
		for (size_t have = piece; at < strlen(data); have += piece) {
			have = have < strlen(data) ? have : strlen(data);
			enum record_kind kind;
			while ((kind = record_next(&r, data + at, have - at, RECORD_MORE,
						   &found)) != RECORD_NONE) {
				at += found.taken;
				n += kind != RECORD_REST;
				CHECK(kind == RECORD_REST || found.number == 4);
			}
		}
		CHECK_INT(n, 1);
		CHECK_INT(r.lines, 4);
	}
	line_checker_free(&c);
}

/* A megabyte byte by byte: inside quotes, of quotes, without any newline. Quadratic work would take
 * minutes. */
static void test_work_is_linear(void) {
	struct column columns[] = { kit_column("a", PLAIN("text"), 'S', false),
				    kit_column("b", PLAIN("text"), 'S', false) };
	struct field_rule rules[2];
	static const char *const fills[] = { "x", "\"\"", "\n", "x\n", "\"\"\n" };
	for (size_t k = 0; k < 2 * sizeof(fills) / sizeof(fills[0]); k++) {
		struct line_checker c = kit_checker(columns, k % 2 + 1, rules);
		AUTO_BUF struct buf data = { 0 };
		struct record_reader r;
		struct record_found found;
		size_t n = 0;
		clock_t start = clock();
		buf_puts(&data, k % 2 ? "x,\"" : "\"");
		while (data.len < MOST)
			buf_puts(&data, fills[k / 2]);
		buf_puts(&data, "\"\n");
		record_begin(&r, &format_csv, (size_t)2 * MOST);
		record_fields(&r, &c, false);
		for (size_t have = 1; have <= data.len; have++)
			n += record_next(&r, data.data, have, have % 2 ? RECORD_SYNC : RECORD_MORE,
					 &found) != RECORD_NONE;
		CHECK_INT(n, 1);
		CHECK((clock() - start) / CLOCKS_PER_SEC < 10);
		line_checker_free(&c);
	}
}

/* -- a model ----------------------------------------------------------------------------------- */

/* Columns: varchar(4) not null, text, smallint, numeric(4,2). The model takes records from the
 * front by a grammar and compares numbers as integers. */
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

/* Does a quoted field begin in the record at DATA that has no end, and could still be one of its
 * columns? */
static bool model_is_open(const char *data, size_t len) {
	int field = 0, chars = 0;
	bool quoted = false, begun = false;
	for (const char *p = data, *end = data + len; p < end; p++) {
		if (!quoted && *p == '"' && !begun) {
			quoted = begun = true;
			chars = 0;
		} else if (!quoted && (*p == '"' || *p == '\n')) {
			return false;
		} else if (!quoted && *p == ',') {
			field++;
			begun = false;
		} else if (!quoted) {
			begun = true;
		} else if (*p == '"' && p + 1 < end && p[1] == '"') {
			chars++;
			p++;
		} else if (*p == '"') {
			bool ends = p + 1 == end || strchr(",\n", p[1]) != NULL ||
				    (p[1] == '\r' && (p + 2 == end || p[2] == '\n'));
			if (!ends)
				return false;
			quoted = false;
		} else {
			chars += (*p & 0xc0) != 0x80;
			if ((field > 1 && *p == '\n') || field >= MODEL_COLUMNS ||
			    (field == 0 && chars > 4))
				return false;
		}
	}
	return quoted && memchr(data, '\n', len) != NULL;
}

static size_t model_first(const char *data, size_t len) {
	const char *newline = memchr(data, '\n', len);
	return newline != NULL ? (size_t)(newline - data) + 1 : len;
}

/* Is one line from AT on a row by itself? */
static bool model_good_behind(const char *data, size_t len, size_t at) {
	struct model_record r;
	for (size_t n; at < len; at += n) {
		n = model_first(data + at, len - at);
		if (model_record(data + at, n, &r) && r.len == n && model_takes(&r))
			return true;
	}
	return false;
}

/* The first record of DATA, behind which nothing comes, as the model sees it; true and R filled if
 * it is a row. */
static bool model_line(const char *data, size_t len, struct model_record *r, size_t *cut,
		       bool *open) {
	size_t first = model_first(data, len);
	bool good = model_record(data, len, r) && model_takes(r);
	*open = false;
	if (good && r->len >= first) {
		*cut = r->len;
		return true;
	}
	*open = memchr(data, '"', first) != NULL && model_is_open(data, len) &&
		!model_good_behind(data, len, first);
	*cut = *open ? len : first;
	return !*open && model_record(data, first, r) && r->len == first && model_takes(r);
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

static void check_model(struct line_checker *c, int round, struct buf *data, long *counts) {
	AUTO_BUF struct buf want = { 0 }, why = { 0 };
	struct record_reader r;
	size_t cut, at = 0;
	uint64_t line = 1;
	buf_puts(&want, "");
	record_begin(&r, &format_csv, MOST);
	record_fields(&r, c, false);
	for (; at < data->len; at += cut) {
		struct model_record m;
		struct record_found found = { 0 };
		bool open;
		bool good = model_line(data->data + at, data->len - at, &m, &cut, &open);
		enum record_kind kind =
			record_next(&r, data->data + at, data->len - at, RECORD_END, &found);
		int rc = line_check(c, found.text, found.len, &why);
		if (!CHECK(found.taken == cut && (kind == RECORD_OPEN) == open &&
			   (rc == 0) == good && found.number == line))
			fprintf(stderr,
				"round %d at %zu: cut %zu, model %zu; %d, model %d: %s\n[%s]\n",
				round, at, found.taken, cut, rc, good,
				why.data != NULL ? why.data : "", data->data);
		counts[0] += good;
		counts[1] += good && memchr(found.text, '\n', found.len) != NULL;
		counts[2] += !good;
		counts[3] += open;
		for (int i = 0; i < MODEL_COLUMNS && good && rc == 0; i++) {
			CHECK_INT(c->rendered[i], model_rendered(&m, i));
			CHECK(c->fields[i].len == strlen(m.text[i]) &&
			      memcmp(c->fields[i].text, m.text[i], c->fields[i].len) == 0);
		}
		put_record(&want, kind, &found);
		for (size_t i = 0; i < cut; i++)
			line += data->data[at + i] == '\n';
	}
	AUTO_FREE char *got = records(c, data->data, data->len, round % 3, MOST, false);
	CHECK_STR(got, want.data);
}

static void test_model(void) {
	struct column columns[] = { kit_column("v", VARCHAR(4), 'S', true),
				    kit_column("t", PLAIN("text"), 'S', false),
				    kit_column("s", PLAIN("smallint"), 'N', false),
				    kit_column("n", NUMERIC(4, 2), 'N', false) };
	struct field_rule rules[MODEL_COLUMNS];
	struct line_checker c = kit_checker(columns, MODEL_COLUMNS, rules);
	long counts[4] = { 0 };
	for (int round = 0; round < 20000; round++) {
		AUTO_BUF struct buf data = { 0 };
		for (int i = 0, n = 1 + kit_below(24); i < n; i++) {
			put_random_field(&data, i % 4);
			buf_puts(&data, i % 4 == 3 && !kit_one_in(20)
						? (kit_one_in(5) ? "\r\n" : "\n")
						: ",");
		}
		if (data.len > 0 && memcmp(data.data, "\xef\xbb\xbf", 3) != 0)
			check_model(&c, round, &data, counts);
	}
	CHECK(counts[0] > 5000 && counts[1] > 300 && counts[2] > 5000 && counts[3] > 100);
	line_checker_free(&c);
}

int main(void) {
	test_cases();
	test_open();
	test_pass();
	test_work_is_linear();
	test_model();
	return check_end();
}
