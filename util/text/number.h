/* Numbers as text: is it one that a column takes, and how long is the server's text for it. Works
 * on the digits, so that numbers of any length are judged exactly. Pure; thread-safe. */
#ifndef ROWFS_UTIL_TEXT_NUMBER_H
#define ROWFS_UTIL_TEXT_NUMBER_H

#include <stddef.h>
#include <stdint.h>

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

#endif
