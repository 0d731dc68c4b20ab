/* Numbers as text, the one scanner of them: their values, whether a column takes them, how long the
 * server's text for them is, and one spelling for all texts of a number. Works on the digits, so
 * that numbers of any length are judged exactly. Pure; thread-safe. */
#pragma once

#include "util/buf.h"

#include <stdint.h>

/* Reads the LEN bytes of TEXT, -?[0-9]+ from LEAST to MOST, into *OUT. Returns false, with *OUT
 * unchanged, if TEXT is anything else. */
MUST_USE bool number_read(const char *text, size_t len, int64_t least, int64_t most, int64_t *out);
/* The same of a C string; NULL is no number. */
MUST_USE bool decimal_read(const char *text, int64_t least, int64_t most, int64_t *out);

enum number_verdict {
	NUMBER_FITS,
	NUMBER_IS_NONE, /* not written as a number */
	NUMBER_TOO_LARGE,
};

/* -?[0-9]+ within BITS (16, 32, 64). *RENDERED: bytes of the server's text. */
enum number_verdict number_integer(const char *text, size_t len, int bits, int64_t *rendered);

/* -?digits[.digits][e[+-]digits] for numeric(PRECISION, SCALE); PRECISION -1 is a numeric without
 * limits. A number with more decimals than SCALE is rounded half away from zero, as the server
 * does. *RENDERED: bytes of trim_scale(number)::text. */
enum number_verdict number_numeric(const char *text, size_t len, int precision, int scale,
				   int64_t *rendered);

/* How many digits stand at P, before END. */
static inline size_t number_digits(const char *p, const char *end) {
	const char *from = p;
	while (p < end && *p >= '0' && *p <= '9')
		p++;
	return (size_t)(p - from);
}

/* Moves *AT behind the number of JSON that begins there, before END at the latest. Returns false if
 * it is none: *AT is where a digit is missing. */
MUST_USE bool number_skip(const char **at, const char *end);

/* Appends the number TEXT without needless zeros, signs and exponents: 5000.0 is 5000, 1e3 is 1000.
 * Returns false, and appends nothing, if it is no number, or one with thousands of digits. */
bool number_canonical(struct buf *out, const char *text, size_t len);
