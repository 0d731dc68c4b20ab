#include "util/text/number.h"

#include <string.h>

/* What PostgreSQL's numeric holds: digits before and behind the point. */
enum { NUMERIC_WHOLE_MOST = 131072, NUMERIC_DECIMALS_MOST = 16383 };
/* A larger exponent is no number that anybody means. */
enum { EXPONENT_MOST = 1000000 };
/* What is longer is not spelled anew. */
enum { SPELLED_DIGITS_MOST = 4096, SPELLED_EXPONENT_MOST = 4000 };

static bool is_digit(char c) {
	return c >= '0' && c <= '9';
}

/* -- integers ---------------------------------------------------------------------------------- */

/* A whole number taken apart. VALUE is without its sign, and right if there are at most 19 DIGITS,
 * leading zeros not counted: 9999999999999999999 < 2^64. */
struct integer {
	uint64_t value;
	size_t digits;
	bool minus;
};

static inline bool read_integer(const char *text, size_t len, struct integer *out) {
	const char *p = text, *end = text + len;
	bool minus = p < end && *p == '-';
	uint64_t value = 0;
	p += minus;
	if (p == end)
		return false;
	while (p < end && *p == '0')
		p++;
	const char *first = p;
	for (; p < end && p - first < 19 && is_digit(*p); p++)
		value = value * 10 + (uint64_t)(*p - '0');
	size_t digits = (size_t)(p - first) + number_digits(p, end);
	*out = (struct integer){ .value = value, .digits = digits, .minus = minus };
	return first + digits == end;
}

enum number_verdict number_integer(const char *text, size_t len, int bits, int64_t *rendered) {
	struct integer i;
	uint64_t most = (UINT64_C(1) << (bits - 1)) - 1;
	if (!read_integer(text, len, &i))
		return NUMBER_IS_NONE;
	if (i.digits > 19 || i.value > most + (i.minus ? 1 : 0))
		return NUMBER_TOO_LARGE;
	*rendered = i.digits == 0 ? 1 : (int64_t)i.digits + i.minus;
	return NUMBER_FITS;
}

bool number_read(const char *text, size_t len, int64_t least, int64_t most, int64_t *out) {
	struct integer i;
	if (!read_integer(text, len, &i) || i.digits > 19 ||
	    i.value > (uint64_t)INT64_MAX + (i.minus ? 1 : 0))
		return false;
	/* -value, of which the largest is no int64_t itself */
	int64_t value = !i.minus       ? (int64_t)i.value
			: i.value == 0 ? 0
				       : -(int64_t)(i.value - 1) - 1;
	if (value < least || value > most)
		return false;
	*out = value;
	return true;
}

bool decimal_read(const char *text, int64_t least, int64_t most, int64_t *out) {
	return text != NULL && number_read(text, strlen(text), least, most, out);
}

/* -- decimals ---------------------------------------------------------------------------------- */

/* How a number may be written. */
enum form {
	FORM_SERVER, /* -?digits[.digits][e[+-]digits] */
	FORM_JSON,   /* the same without leading zeros */
	FORM_ANY, /* the same with a plus sign, and with a point that has digits on one side only */
};

/* A number taken apart. Its digits are those of `whole` and then those of `part`; digit i stands
 * for 10^(point - 1 - i). */
struct decimal {
	const char *whole, *part;
	int64_t nwhole, n; /* digits in `whole`; in both */
	int64_t exponent;  /* bounded: EXPONENT_MOST and some more */
	int64_t point;     /* digits before the decimal point, with the exponent; may be negative */
	bool minus;
};

/* The digits at *AT, which moves behind them. */
static int64_t take_digits(const char **at, const char *end) {
	size_t n = number_digits(*at, end);
	*at += n;
	return (int64_t)n;
}

static bool take_exponent(const char **at, const char *end, int64_t *exponent) {
	bool minus = *at < end && **at == '-';
	*at += *at < end && (**at == '-' || **at == '+');
	const char *digit = *at;
	if (take_digits(at, end) == 0)
		return false;
	for (*exponent = 0; digit < *at; digit++)
		if (*exponent <= EXPONENT_MOST)
			*exponent = *exponent * 10 + (*digit - '0');
	if (minus)
		*exponent = -*exponent;
	return true;
}

/* The number at *AT, as far as it goes: *AT moves behind it, or to where a digit is missing. */
static inline bool take_decimal(const char **at, const char *end, enum form form,
				struct decimal *d) {
	bool any = form == FORM_ANY;
	const char *p = *at;
	int64_t part = 0, exponent = 0;
	d->minus = p < end && *p == '-';
	p += d->minus || (any && p < end && *p == '+');
	d->whole = p;
	bool zero = form == FORM_JSON && p < end && *p == '0';
	int64_t whole = take_digits(&p, zero ? p + 1 : end);
	bool right = whole > 0 || any;
	d->part = p;
	if (right && p < end && *p == '.') {
		d->part = ++p;
		part = take_digits(&p, end);
		right = part > 0 || any;
	}
	if (right && p < end && (*p == 'e' || *p == 'E')) {
		p++;
		right = take_exponent(&p, end, &exponent);
	}
	*at = p;
	d->nwhole = whole;
	d->n = whole + part;
	d->exponent = exponent;
	d->point = whole + exponent;
	return right && d->n > 0;
}

static inline bool read_decimal(const char *text, size_t len, enum form form, struct decimal *d) {
	const char *at = text;
	return take_decimal(&at, text + len, form, d) && at == text + len;
}

bool number_skip(const char **at, const char *end) {
	struct decimal ignored;
	return take_decimal(at, end, FORM_JSON, &ignored);
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
	if (!read_decimal(text, len, FORM_SERVER, &d))
		return NUMBER_IS_NONE;
	if (d.exponent > EXPONENT_MOST || d.exponent < -EXPONENT_MOST ||
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

bool number_canonical(struct buf *out, const char *text, size_t len) {
	struct decimal d;
	int64_t first, end;
	if (!read_decimal(text, len, FORM_ANY, &d) || d.n > SPELLED_DIGITS_MOST ||
	    d.exponent > SPELLED_EXPONENT_MOST || d.exponent < -SPELLED_EXPONENT_MOST)
		return false;
	significant(&d, d.n, &first, &end);
	if (first == end) {
		buf_putc(out, '0');
		return true;
	}
	buf_puts(out, d.minus ? "-" : "");
	buf_puts(out, d.point <= first ? "0." : "");
	for (int64_t i = d.point; i < first; i++)
		buf_putc(out, '0');
	for (int64_t i = first; i < end; i++) {
		if (i == d.point && i > first)
			buf_putc(out, '.');
		buf_putc(out, digit_at(&d, i));
	}
	for (int64_t i = end; i < d.point; i++)
		buf_putc(out, '0');
	return true;
}
