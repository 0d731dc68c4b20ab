/* The scanners of util/text: tables of cases. Lines and records have tests of their own. */
#include "tests/unit/check.h"
#include "util/text/format.h"
#include "util/text/json_shape.h"
#include "util/text/json_tree.h"
#include "util/text/name.h"
#include "util/text/number.h"
#include "util/text/utf8.h"

#include <errno.h>

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

/* -- numbers ----------------------------------------------------------------------------------- */

static void test_integers(void) {
	static const struct {
		const char *text;
		int64_t least, most, want; /* want 7: refused */
	} cases[] = {
		{ "0", -1, 1, 0 },
		{ "-0", -1, 1, 0 },
		{ "0042", 0, 42, 42 },
		{ "43", 0, 42, 7 },
		{ "-1", 0, 42, 7 },
		{ "9223372036854775807", INT64_MIN, INT64_MAX, INT64_MAX },
		{ "-9223372036854775808", INT64_MIN, INT64_MAX, INT64_MIN },
		{ "9223372036854775808", INT64_MIN, INT64_MAX, 7 },
		{ "-9223372036854775809", INT64_MIN, INT64_MAX, 7 },
		{ "18446744073709551617", INT64_MIN, INT64_MAX, 7 },
		{ "", -1, 1, 7 },
		{ "-", -1, 1, 7 },
		{ "+1", -1, 1, 7 },
		{ " 1", -1, 1, 7 },
		{ "1 ", -1, 1, 7 },
		{ "0x1", -1, 1, 7 },
	};
	for (size_t i = 0; i < COUNT(cases); i++) {
		int64_t value = 7;
		CHECK(decimal_read(cases[i].text, cases[i].least, cases[i].most, &value) ==
		      (cases[i].want != 7));
		CHECK_INT(value, cases[i].want);
	}
	int64_t value = 7;
	CHECK(!decimal_read(NULL, 0, 9, &value));
	CHECK(number_read("123", 2, 0, 99, &value) && value == 12);
}

static void test_one_spelling(void) {
	static const char *const cases[][2] = {
		{ "0", "0" },
		{ "-0.00e5", "0" },
		{ "5000.0", "5000" },
		{ "1e3", "1000" },
		{ "1E+3", "1000" },
		{ "+1.50", "1.5" },
		{ "-0.0012", "-0.0012" },
		{ "12e-4", "0.0012" },
		{ "0012", "12" },
		{ ".5", "0.5" },
		{ "5.", "5" },
		{ "123.456e1", "1234.56" },
		{ "100e-2", "1" },
		{ "1e4001", "1e4001" },
		{ "1e", "1e" },
		{ "1e+", "1e+" },
		{ "1e 5", "1e 5" },
		{ ".", "." },
		{ "-", "-" },
		{ "1 ", "1 " },
		{ "0x10", "0x10" },
		{ "", "" },
		{ "true", "true" },
		{ "2025-01-31T12:00:00.500+00:00", "2025-01-31 12:00:00.5Z" },
	};
	for (size_t i = 0; i < COUNT(cases); i++) {
		AUTO_BUF struct buf out = { 0 };
		scalar_canonical(&out, cases[i][0], strlen(cases[i][0]));
		buf_puts(&out, "");
		CHECK_STR(out.data, cases[i][1]);
	}
}

/* What stands behind a number, as the next field of a line does, is not part of it. */
static void test_number_ends(void) {
	AUTO_BUF struct buf out = { 0 };
	scalar_canonical(&out, "1e57", 3);
	CHECK_STR(out.data, "100000");
}

static void test_numbers_of_json(void) {
	static const struct {
		const char *text;
		int taken; /* negative: it is none, and so far from its start a digit is missing */
	} cases[] = {
		{ "0", 1 },  { "01", 1 },  { "-12.50e+3,", 9 }, { "1.", -2 },
		{ "-", -1 }, { "1e", -2 }, { "1e-", -3 },       { "7]", 1 },
	};
	for (size_t i = 0; i < COUNT(cases); i++) {
		const char *at = cases[i].text;
		bool is = number_skip(&at, at + strlen(at));
		CHECK(is == (cases[i].taken > 0));
		CHECK_INT(at - cases[i].text, is ? cases[i].taken : -cases[i].taken);
	}
}

/* -- UTF-8 ------------------------------------------------------------------------------------- */

static void test_utf8(void) {
	static const struct {
		const char *text;
		int len, good, chars;
	} cases[] = {
		{ "", 0, 0, 0 },
		{ "a\0b", 3, 1, 3 },
		{ "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 9, 9, 3 },
		{ "a\xc3", 2, 1, 2 },
		{ "a\xc0\x80", 3, 1, 2 },         /* longer than needed */
		{ "a\xed\xa0\x80", 4, 1, 2 },     /* half of a surrogate pair */
		{ "a\xf4\x90\x80\x80", 5, 1, 2 }, /* behind the last character */
	};
	for (size_t i = 0; i < COUNT(cases); i++) {
		size_t len = (size_t)cases[i].len;
		CHECK_INT(utf8_prefix(cases[i].text, len), cases[i].good);
		CHECK(utf8_valid(cases[i].text, len) == (cases[i].good == cases[i].len));
		CHECK_INT(utf8_count(cases[i].text, len), cases[i].chars);
	}
	CHECK_INT(utf8_mark("\xef\xbb\xbfx", 4), 3);
	CHECK_INT(utf8_mark("\xef\xbb\xbf", 2), 0);
}

/* -- CSV --------------------------------------------------------------------------------------- */

/* The fields as "raw=text", NULL as "raw.", with a bar between two; or the sentence. */
static void check_split(struct csv_record *record, const char *line, const char *want) {
	AUTO_BUF struct buf out = { 0 }, why = { 0 };
	int rc = csv_split(line, strlen(line), record, &why);
	for (int i = 0; rc == 0 && i < record->n; i++) {
		const struct csv_field *f = &record->fields[i];
		buf_printf(&out, "%s%.*s%s%.*s", i > 0 ? "|" : "", (int)f->raw_len, f->raw,
			   f->null ? "." : "=", (int)f->len, f->text);
	}
	CHECK_STR(rc == 0 ? out.data : why.data, want);
}

static void test_csv_split(void) {
	AUTO_CSV struct csv_record record = { 0 };
	check_split(&record, "", ".");
	check_split(&record, "a,,\"\",", "a=a|.|\"\"=|.");
	check_split(&record, "\"a,\nb\",c", "\"a,\nb\"=a,\nb|c=c");
	check_split(&record, "\"\"\"\",\"a\"\"b\"\"\"", "\"\"\"\"=\"|\"a\"\"b\"\"\"=a\"b\"");
	check_split(&record, "a,\"b", "field 2: the quote does not end");
	check_split(&record, "a,\"b\"c", "field 2: text behind the closing quote");
	check_split(&record, "a\"", "field 1: a quote inside a field that is not quoted");
}

static void test_csv_length(void) {
	static const struct {
		const char *text;
		int length;
	} cases[] = {
		{ "", 2 }, { "ab", 2 }, { "a,b", 5 }, { "a\"b", 6 }, { "\n", 3 }, { "\r", 3 }
	};
	for (size_t i = 0; i < COUNT(cases); i++)
		CHECK_INT(csv_length(cases[i].text, strlen(cases[i].text)), cases[i].length);
}

static int find_letter(const void *names, const char *text, size_t len) {
	const char *at = len == 1 ? strchr(names, *text) : NULL;
	return at != NULL ? (int)(at - (const char *)names) : -1;
}

static void test_csv_header(void) {
	static const struct {
		const char *line;
		bool is;
	} cases[] = { { "c,a", true },  { "\"b\"", true }, { "a,b,a", false },
		      { "a,d", false }, { "a,", false },   { "ab", false } };
	for (size_t i = 0; i < COUNT(cases); i++) {
		AUTO_CSV struct csv_record record = { 0 };
		AUTO_BUF struct buf why = { 0 };
		int order[4] = { -1 };
		CHECK_INT(csv_split(cases[i].line, strlen(cases[i].line), &record, &why), 0);
		CHECK(csv_is_header(&record, find_letter, "abc", order) == cases[i].is);
		CHECK(i > 0 || (order[0] == 2 && order[1] == 0));
	}
}

/* -- JSON -------------------------------------------------------------------------------------- */

/* The sentence of json_check(), or "" for a document. The tree takes the same documents, but for
 * keys that stand twice. */
static void test_json_check(void) {
	static const struct {
		const char *text, *want;
	} cases[] = {
		{ " {\"a\": [1, -2.5e+3, true, null, \"x\"], \"b\": {}} ", "" },
		{ "\"\\\"\\/\\u00e9\\ud83d\\ude00\"", "" },
		{ "[]", "" },
		{ "", "not valid JSON at line 1, column 1: a value was expected" },
		{ "[\n 01]", "not valid JSON at line 2, column 3: a comma or ] was expected" },
		{ "[1.]", "not valid JSON at line 1, column 4: a digit was expected" },
		{ "[-]", "not valid JSON at line 1, column 3: a digit was expected" },
		{ "[1,]", "not valid JSON at line 1, column 4: a value was expected" },
		{ "{\"a\": 1,}",
		  "not valid JSON at line 1, column 9: a key in double quotes was expected" },
		{ "{\"a\" 1}", "not valid JSON at line 1, column 6: a colon was expected" },
		{ "{\"a\": 1", "not valid JSON at line 1, column 8: a comma or } was expected" },
		{ "{\"a\": 1, \"\\u0061\": 2}",
		  "the key \"a\" stands twice in the object that ends at line 1, column 22" },
		{ "nul", "not valid JSON at line 1, column 1: a value was expected" },
		{ "1 2", "not valid JSON at line 1, column 3: text after the document" },
		{ "\"a", "not valid JSON at line 1, column 3: the string does not end" },
		{ "\"a\\", "not valid JSON at line 1, column 4: the string does not end" },
		{ "\"\\x\"", "not valid JSON at line 1, column 3: unknown escape" },
		{ "\"\t\"",
		  "not valid JSON at line 1, column 2: control character in a string (write it as an escape)" },
		{ "\"\\u00g0\"", "not valid JSON at line 1, column 4: \\u needs four hex digits" },
		{ "\"\\u0000\"",
		  "not valid JSON at line 1, column 4: \\u0000 cannot be stored as text" },
		{ "\"\\ud83dx\"", "not valid JSON at line 1, column 4: half of a surrogate pair" },
		{ "\"\\ude00\"", "not valid JSON at line 1, column 4: half of a surrogate pair" },
		{ "\"\xff\"", "not UTF-8 at line 1, column 2" },
	};
	for (size_t i = 0; i < COUNT(cases); i++) {
		AUTO_BUF struct buf why = { 0 };
		AUTO_TREE struct json tree = { 0 };
		size_t len = strlen(cases[i].text);
		buf_puts(&why, "");
		int rc = json_check(cases[i].text, len, &why);
		CHECK_STR(why.data, cases[i].want);
		CHECK((rc == 0) == (why.len == 0));
		bool twice = strstr(why.data, "twice") != NULL;
		CHECK(json_read(cases[i].text, len, &tree) == (rc == 0 || twice));
	}
}

static void test_json_depth(void) {
	for (size_t depth = 511; depth <= 513; depth++) {
		AUTO_BUF struct buf text = { 0 }, why = { 0 };
		for (size_t i = 0; i < 2 * depth; i++)
			buf_putc(&text, i < depth ? '[' : ']');
		CHECK((json_check(text.data, text.len, &why) == 0) == (depth <= 512));
	}
}

static void test_json_shape(void) {
	static const char text[] = "{\"b\": {\"x\": 1}, \"a\\u00e9\": []}";
	AUTO_SHAPE struct shape shape = { 0 }, none = { 0 };
	AUTO_BUF struct buf why = { 0 };
	CHECK_INT(shape_scan(text, strlen(text), &shape, &why), 0);
	shape_sort(&shape);
	CHECK(CHECK_INT(shape.n, 2) && CHECK_STR(shape.names[0], "a\xc3\xa9"));
	CHECK_INT(shape_find(&shape, "bc", 1), 1);
	CHECK_INT(shape_find(&shape, "b\0c", 3), -1);
	CHECK(shape_add(&shape, "cd", 1) && shape_find(&shape, "c", 1) == 2);
	CHECK(shape_scan("[]", 2, &none, &why) != 0 && none.n == 0);
	CHECK_STR(why.data, "a JSON object was expected, not another kind of value");
}

/* Members: "v" is a value, "j" is JSON, "s" is kept as it is written. */
static enum json_member named(const void *arg, const char *name) {
	return *name == 'j' ? MEMBER_JSON : *name == 's' ? MEMBER_STORED : MEMBER_VALUE;
}

static void test_json_members(void) {
	static const struct {
		const char *text, *quoted; /* NULL: refused */
	} cases[] = {
		{ "{\"v\": [1], \"j\": [1, \"\\n\"] }",
		  "{\"v\": [1], \"j\": \"[1, \\\"\\\\n\\\"]\" }" },
		{ "{\"j\":null,\"s\":null,\"j2\":\"null\"}",
		  "{\"j\":null,\"s\":null,\"j2\":\"\\\"null\\\"\"}" },
		{ "{\"s\":{\"\\u0000\":1,\"a\":\"\\ud800\",\"a\":[{\"b\":1,\"b\":2}]}}",
		  "{\"s\":\"{\\\"\\\\u0000\\\":1,\\\"a\\\":\\\"\\\\ud800\\\",\\\"a\\\":"
		  "[{\\\"b\\\":1,\\\"b\\\":2}]}\"}" },
		{ "{\"s\":{\"a\":1,\"a\":2},\"v\":{\"a\":1,\"a\":2}}", NULL },
		{ "{\"j\":{\"a\":1,\"a\":2}}", NULL },
		{ "{\"s\":\"\\u0000\",\"v\":\"\\u0000\"}", NULL },
		{ "{\"s\":\"\\u00\"}", NULL },
		{ "{\"s\":1,\"s\":2}", NULL },
	};
	const struct json_members members = { .what = named };
	for (size_t i = 0; i < COUNT(cases); i++) {
		AUTO_SHAPE struct shape shape = { 0 };
		AUTO_SPANS struct json_spans spans = { 0 };
		AUTO_BUF struct buf out = { 0 }, why = { 0 };
		size_t len = strlen(cases[i].text);
		int rc = shape_scan_members(cases[i].text, len, &members, &shape, &spans, &why);
		CHECK_INT(rc, cases[i].quoted != NULL ? 0 : -EINVAL);
		json_put_quoted(&out, cases[i].text, 0, len, &spans);
		if (cases[i].quoted != NULL)
			CHECK_STR(out.data, cases[i].quoted);
	}
}

static void test_json_elements(void) {
	static const char text[] = " {\"x\": {\"k\": \"x\", \"v\": {\"k\": 2}}, \"y\": {\"v\":1}}";
	AUTO_ELEMENTS struct elements all = { 0 }, none = { 0 };
	AUTO_BUF struct buf why = { 0 };
	CHECK_INT(elements_scan(text, strlen(text), true, NULL, "k", &all, &why), 0);
	if (!CHECK_INT(all.n, 2))
		return;
	const struct element *e = all.items;
	CHECK_STR(e[0].name, "x");
	CHECK(json_is_text(text + e[0].watched_at, e[0].watched_len, "x"));
	CHECK(e[0].shape.n == 2 && e[1].shape.n == 1 && e[1].watched_len == 0);
	CHECK_INT(e[1].len, strlen("{\"v\":1}"));
	CHECK(memcmp(text + e[1].at, "{\"v\":1}", e[1].len) == 0);
	CHECK(elements_scan("[{}, 1]", 7, false, NULL, NULL, &none, &why) != 0);
	CHECK_STR(why.data, "not valid JSON at line 1, column 6: each row must be an object");
	buf_resize(&why, 0);
	CHECK(elements_scan("{\"a\":{}, \"a\":{}}", 16, true, NULL, "k", &none, &why) != 0);
	CHECK_HAS(why.data, "the key \"a\" stands twice");
	buf_resize(&why, 0);
	CHECK(elements_scan(" ", 1, true, NULL, NULL, &none, &why) != 0);
	CHECK_STR(why.data, "empty: a JSON object of objects was expected");
}

/* One form for all texts that mean the same. */
static void test_json_tree(void) {
	static const char *const same[][2] = {
		{ "{\"b\": 1.0, \"a\": [1e2, \"\\u00e9\"]}", "{\"a\":[100,\"\xc3\xa9\"],\"b\":1}" },
		{ "\"2025-01-31T12:00:00+00:00\"", "\"2025-01-31 12:00:00Z\"" },
		{ "[{ }, true]", "[{},true]" },
	};
	for (size_t i = 0; i < COUNT(same); i++) {
		AUTO_TREE struct json a = { 0 }, b = { 0 };
		AUTO_BUF struct buf out = { 0 };
		CHECK(json_read(same[i][0], strlen(same[i][0]), &a));
		CHECK(json_read(same[i][1], strlen(same[i][1]), &b));
		CHECK(json_same(&a, &b, 0));
		json_canonical(&out, &a);
		CHECK_STR(out.data, same[i][1]);
	}
}

/* -- names ------------------------------------------------------------------------------------- */

static void test_names(void) {
	static const char *const cases[][3] = {
		/* key, separators, name */
		{ "", "", "%" },
		{ ".", "", "%2E" },
		{ "..", "-", "%2E%2E" },
		{ "...", "", "..." },
		{ "a/b%c\x01\x7f", "", "a%2Fb%c%01%7F" },
		{ "a-b_c", "-_", "a%2Db%5Fc" },
		{ "%", "", "%25" },
		{ "%%", "", "%%" },
		{ "%%%", "", "%%%" },
		{ "a%", "", "a%" },
		{ "%4", "", "%4" },
		{ "%41", "", "%2541" },
		{ "%4/", "", "%4%2F" },
		{ "%%41", "", "%%2541" },
		{ "%25", "", "%2525" },
		{ "%4-1", "-", "%4%2D1" },
		{ "%2f%zz", "", "%2f%zz" },
		{ "%00", "", "%00" },
		{ "%FF", "", "%25FF" },
		{ "%~", "", "%25~" },
		{ "a%~", "", "a%~" },
		{ "%\n", "", "%%0A" },
		{ "\xc3\xa9", "", "\xc3\xa9" },
	};
	for (size_t i = 0; i < COUNT(cases); i++) {
		AUTO_BUF struct buf name = { 0 }, key = { 0 };
		name_encode(&name, cases[i][0], cases[i][1]);
		CHECK_STR(name.data, cases[i][2]);
		CHECK(name_decode(&key, name.data, name.len));
		CHECK_STR(key.data, cases[i][0]);
	}
	static const char *const none[] = { "", ".", "..", "a/b", "\x01", "%FF" };
	for (size_t i = 0; i < COUNT(none); i++) {
		AUTO_BUF struct buf key = { 0 };
		CHECK(!name_decode(&key, none[i], strlen(none[i])));
	}
}

static void test_percent(void) {
	AUTO_BUF struct buf out = { 0 };
	percent_put(&out, "a/b%\n", "%", "");
	CHECK_STR(out.data, "a/b%25%0A");
	buf_resize(&out, 0);
	percent_put_invalid(&out, "a\xff\n\xc3\xa9\xc3", 0);
	CHECK_STR(out.data, "a%FF\n\xc3\xa9%C3");
	for (size_t most = 4; most < 12; most++) { /* never half a letter */
		buf_resize(&out, 0);
		percent_put_invalid(&out, "\xc3\xa9\xf0\x9f\x98\x80\xff\xff", most);
		CHECK(out.len <= most && utf8_valid(out.data, out.len));
	}
	CHECK_INT(percent_byte("%0A", 3), '\n');
	CHECK_INT(percent_byte("%0A", 2), -1);
	CHECK_INT(percent_byte("x0A", 3), -1);
}

static void test_format(void) {
	static const struct {
		const char *path;
		const struct format *want;
	} cases[] = {
		{ "/a/b.csv", &format_csv },
		{ "/a/b.jsonl", &format_jsonl },
		{ ".csv", &format_csv },
		{ "/a/b.json", NULL },
		{ "/a/b.csv.gz", NULL },
		{ "/a.csv/b", NULL },
		{ "/a/csv", NULL },
		{ "/a/b.", NULL },
		{ "", NULL },
		{ "/a/b.CSV", NULL },
	};
	for (size_t i = 0; i < COUNT(cases); i++)
		CHECK(format_of(cases[i].path, strlen(cases[i].path)) == cases[i].want);
	CHECK(format_of("/a/b.csv.gz", strlen("/a/b.csv")) == &format_csv);
	CHECK(format_called("jsonl", 5) == &format_jsonl);
	CHECK(format_called("json", 4) == NULL);
}

int main(void) {
	test_integers();
	test_one_spelling();
	test_number_ends();
	test_numbers_of_json();
	test_utf8();
	test_csv_split();
	test_csv_length();
	test_csv_header();
	test_format();
	test_json_check();
	test_json_depth();
	test_json_shape();
	test_json_members();
	test_json_elements();
	test_json_tree();
	test_names();
	test_percent();
	return check_end();
}
