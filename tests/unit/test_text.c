/* The scanners of util/text: tables of cases. Lines and records have tests of their own. */
#include "tests/unit/check.h"
#include "util/text/csv.h"
#include "util/text/json_tree.h"
#include "util/text/number.h"
#include "util/text/utf8.h"

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

int main(void) {
	test_integers();
	test_one_spelling();
	test_number_ends();
	test_numbers_of_json();
	test_utf8();
	test_csv_split();
	test_csv_length();
	test_csv_header();
	return check_end();
}
