#include "util/text/number.h"

#include <stdbool.h>
#include <string.h>

/* What PostgreSQL's numeric holds: digits before and behind the point. */
enum { NUMERIC_WHOLE_MOST = 131072, NUMERIC_DECIMALS_MOST = 16383 };
/* A larger exponent is no number that anybody means. */
enum { EXPONENT_MOST = 1000000 };

static bool is_digit(char c) {
	return c >= '0' && c <= '9';
}

static size_t count_digits(const char *p, const char *end) {
	const char *from = p;
	while (p < end && is_digit(*p))
		p++;
	return (size_t)(p - from);
}

/* -- integers ---------------------------------------------------------------------------------- */

enum number_verdict number_integer(const char *text, size_t len, int bits, int64_t *rendered) {
	const char *p = text, *end = text + len;
	bool minus = p < end && *p == '-';
	uint64_t value = 0, most = (UINT64_C(1) << (bits - 1)) - 1;
	p += minus;
	if (p == end)
		return NUMBER_IS_NONE;
	while (p < end && *p == '0')
		p++;
	const char *first = p;
	/* 18 digits never overflow; the nineteenth may not either: 9999999999999999999 < 2^64 */
	for (; p < end && p - first < 19 && is_digit(*p); p++)
		value = value * 10 + (uint64_t)(*p - '0');
	size_t digits = (size_t)(p - first) + count_digits(p, end);
	if (first + digits != end)
		return NUMBER_IS_NONE;
	if (digits > 19 || value > most + (minus ? 1 : 0))
		return NUMBER_TOO_LARGE;
	*rendered = digits == 0 ? 1 : (int64_t)digits + minus;
	return NUMBER_FITS;
}

/* -- decimals ---------------------------------------------------------------------------------- */

/* A number taken apart. Its digits are those of `whole` and then those of `part`; digit i stands
 * for 10^(point - 1 - i). */
struct decimal {
	const char *whole, *part;
	int64_t nwhole, n; /* digits in `whole`; in both */
	int64_t point;     /* digits before the decimal point, with the exponent; may be negative */
	bool minus;
};

static bool read_exponent(const char *p, const char *end, int64_t *exponent) {
	bool minus = p < end && *p == '-';
	if (p < end && (*p == '-' || *p == '+'))
		p++;
	size_t digits = count_digits(p, end);
	if (digits == 0 || p + digits != end)
		return false;
	for (*exponent = 0; p < end; p++)
		if (*exponent <= EXPONENT_MOST)
			*exponent = *exponent * 10 + (*p - '0');
	if (minus)
		*exponent = -*exponent;
	return true;
}

static bool read_decimal(const char *text, size_t len, struct decimal *d) {
	const char *p = text, *end = text + len;
	int64_t exponent = 0;
	d->minus = p < end && *p == '-';
	p += d->minus;
	d->whole = d->part = p;
	d->nwhole = d->n = (int64_t)count_digits(p, end);
	p += d->nwhole;
	if (d->nwhole == 0)
		return false;
	if (p < end && *p == '.') {
		d->part = ++p;
		size_t digits = count_digits(p, end);
		if (digits == 0)
			return false;
		d->n += (int64_t)digits;
		p += digits;
	}
	if (p < end && ((*p != 'e' && *p != 'E') || !read_exponent(p + 1, end, &exponent)))
		return false;
	d->point = d->nwhole + exponent;
	return true;
}

static char digit_at(const struct decimal *d, int64_t i) {
	return i < d->nwhole ? d->whole[i] : d->part[i - d->nwhole];
}

/* The digits that count, from FIRST to before END, after rounding to END_MOST digits at most. A
 * carry out of the first digit makes it one digit more, to the left. Empty: zero. */
static void significant(const struct decimal *d, int64_t end_most, int64_t *first, int64_t *end) {
	int64_t from = 0, to = d->n;
	while (from < d->n && digit_at(d, from) == '0')
		from++;
	if (end_most < to) {
		bool up = end_most >= from && digit_at(d, end_most) >= '5';
		to = end_most;
		while (up && to > from && digit_at(d, to - 1) == '9')
			to--;
		if (up && to <= from) {
			*first = from - 1;
			*end = from;
			return;
		}
		if (up) {
			*first = from;
			*end = to;
			return;
		}
	}
	while (to > from && digit_at(d, to - 1) == '0')
		to--;
	*first = from;
	*end = to > from ? to : from;
}

enum number_verdict number_numeric(const char *text, size_t len, int precision, int scale,
				   int64_t *rendered) {
	struct decimal d;
	int64_t first, end;
	bool limited = precision >= 0;
	if (!read_decimal(text, len, &d))
		return NUMBER_IS_NONE;
	int64_t exponent = d.point - d.nwhole;
	if (exponent > EXPONENT_MOST || exponent < -EXPONENT_MOST ||
	    (!limited && d.n - d.point > NUMERIC_DECIMALS_MOST))
		return NUMBER_TOO_LARGE;
	significant(&d, limited ? d.point + scale : d.n, &first, &end);
	*rendered = 1;
	if (end == first)
		return NUMBER_FITS;
	int64_t whole = d.point - first, decimals = end - d.point;
	if (whole > (limited ? precision - scale : NUMERIC_WHOLE_MOST))
		return NUMBER_TOO_LARGE;
	*rendered = d.minus + (whole > 0 ? whole : 1) + (decimals > 0 ? decimals + 1 : 0);
	return NUMBER_FITS;
}
