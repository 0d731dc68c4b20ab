/* What the tests of lines share: columns as the catalog would tell them, and random numbers that
 * are the same in every run. */
#pragma once

#include "schema/layout/line_columns.h"
#include "tests/unit/check.h"

#define VARCHAR(n) "character varying", (n) + 4
#define NUMERIC(p, s) "numeric", ((p) << 16 | ((s)&0x7ff)) + 4
#define PLAIN(type) type, -1

/* CATEGORY as in pg_type. */
static inline struct column kit_column(const char *name, const char *type, int modifier,
				       char category, bool not_null) {
	return (struct column){ .name = (char *)name,
				.type = (char *)type,
				.base = (char *)type,
				.category = category,
				.kind = 'b',
				.modifier = modifier,
				.not_null = not_null };
}

/* xorshift: the same numbers for the same seed everywhere. */
static uint64_t kit_random_state = 88172645463325252ULL;

static inline uint64_t kit_random(void) {
	kit_random_state ^= kit_random_state << 13;
	kit_random_state ^= kit_random_state >> 7;
	kit_random_state ^= kit_random_state << 17;
	return kit_random_state;
}

/* 0 to N - 1. */
static inline int kit_below(int n) {
	return (int)(kit_random() % (uint64_t)n);
}

static inline bool kit_one_in(int n) {
	return kit_below(n) == 0;
}

/* A checker for the N columns; dies without memory. RULES has room for N. */
static inline struct line_checker kit_checker(const struct column *columns, int n,
					      struct field_rule *rules) {
	struct line_checker c;
	for (int i = 0; i < n; i++)
		rules[i] = field_rule_of(&columns[i]);
	if (line_checker_init(&c, rules, n) != 0)
		exit(1);
	return c;
}

/* Digits with long runs of 0, 9 and 5: where rounding and carrying go wrong. */
static inline void kit_put_digits(struct buf *out, int most) {
	static const char nasty[] = "0099995544123456789";
	int n = 1 + kit_below(most);
	char run = nasty[kit_below((int)sizeof(nasty) - 1)];
	for (int i = 0; i < n; i++) {
		if (kit_one_in(6))
			run = nasty[kit_below((int)sizeof(nasty) - 1)];
		buf_putc(out, run);
	}
}

static inline void kit_put_integer(struct buf *out) {
	static const char *const limits[] = { "32767",
					      "32768",
					      "2147483647",
					      "2147483648",
					      "2147483649",
					      "9223372036854775807",
					      "9223372036854775808",
					      "9223372036854775809",
					      "18446744073709551616",
					      "0" };
	buf_puts(out, kit_one_in(3) ? "-" : "");
	buf_puts(out, kit_one_in(8) ? "000000000000000000000000" : "");
	if (kit_one_in(4))
		buf_puts(out, limits[kit_below(10)]);
	else
		kit_put_digits(out, kit_one_in(2) ? 4 : 21);
}

static inline void kit_put_numeric(struct buf *out, int exponent_most) {
	buf_puts(out, kit_one_in(3) ? "-" : "");
	kit_put_digits(out, kit_one_in(4) ? 24 : 8);
	if (!kit_one_in(3)) {
		buf_putc(out, '.');
		kit_put_digits(out, kit_one_in(4) ? 24 : 8);
	}
	if (kit_one_in(3))
		buf_printf(out, "%c%s%d", kit_one_in(5) ? 'E' : 'e',
			   kit_one_in(2)   ? "-"
			   : kit_one_in(2) ? "+"
					   : "",
			   kit_below(exponent_most));
}
