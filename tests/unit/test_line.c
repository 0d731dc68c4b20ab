/* Lines of CSV: tables of cases. Random input against a model is in test_record.c. */
#include "tests/unit/linekit.h"

#include <errno.h>

enum { BOOK_COLUMNS = 8 };

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
		CHECK_INT(c.rendered[i], rendered[i]);
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
	CHECK_INT(c.rendered[0], 9);
	column.not_null = true;
	rule = field_rule_of(&column); /* a rule does not follow its column */
	CHECK_INT(line_check(&c, "", 0, &why), -EINVAL);
	CHECK_HAS(why.data, "a blank line");
	line_checker_free(&c);
}

static void test_header(void) {
	const struct column *columns[] = { &book[0], &book[1], &book[2] };
	int order[3], n;
	CHECK(line_is_header(&format_csv, "timestamp,exchange", 18, columns, 3, order, &n));
	CHECK(n == 2 && order[0] == 2 && order[1] == 0);
	CHECK(line_is_header(&format_csv, "\"symbol\"", 8, columns, 3, order, &n));
	CHECK(n == 1 && order[0] == 1);
	CHECK(!line_is_header(&format_csv, "symbol,symbol", 13, columns, 3, order, &n));
	CHECK(!line_is_header(&format_csv, "symbol,", 7, columns, 3, order, &n));
	CHECK(!line_is_header(&format_csv, "", 0, columns, 3, order, &n));
	CHECK(!line_is_header(&format_csv, "exchange,symbol,timestamp,symbol", 32, columns, 3,
			      order, &n));
	CHECK(!line_is_header(&format_csv, "exchange,\"symbol", 16, columns, 3, order, &n));
}

int main(void) {
	book_init();
	test_rules();
	test_lines();
	test_one_column();
	test_header();
	return check_end();
}
