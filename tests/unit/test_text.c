/* The scanners of util/text: tables of cases. Lines and records have tests of their own. */
#include "tests/unit/check.h"
#include "util/text/json_tree.h"
#include "util/text/number.h"

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

int main(void) {
	test_integers();
	test_one_spelling();
	test_number_ends();
	test_numbers_of_json();
	return check_end();
}
