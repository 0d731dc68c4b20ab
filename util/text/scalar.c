/* Numbers and times in one spelling. They are compared as texts: 5000.0 is 5000, and 1e3 is
 * 1000. */
#include "util/text/json_tree.h"

#include <ctype.h>
#include <string.h>

enum { DIGITS_MOST = 4096, EXPONENT_MOST = 4000 };

static size_t count_digits(const char *p, const char *end) {
	size_t n = 0;
	while (p + n < end && isdigit((unsigned char)p[n]))
		n++;
	return n;
}

/* A number's parts: VALUE is 0.DIGITS times ten to the power of POINT. */
struct number {
	char digits[DIGITS_MOST];
	size_t n;
	long point;
	bool negative;
};

static bool read_number(const char *p, const char *end, struct number *out) {
	out->negative = p < end && *p == '-';
	if (p < end && (*p == '-' || *p == '+'))
		p++;
	size_t whole = count_digits(p, end), fraction = 0;
	const char *behind = p + whole < end && p[whole] == '.' ? p + whole + 1 : NULL;
	if (behind != NULL)
		fraction = count_digits(behind, end);
	if (whole + fraction == 0 || whole + fraction > DIGITS_MOST)
		return false;
	memcpy(out->digits, p, whole);
	if (fraction > 0)
		memcpy(out->digits + whole, behind, fraction);
	out->n = whole + fraction;
	out->point = (long)whole;
	p = behind != NULL ? behind + fraction : p + whole;
	if (p < end && (*p == 'e' || *p == 'E')) {
		char *stop;
		if (p + 1 == end || isspace((unsigned char)p[1]))
			return false;
		long exponent = strtol(p + 1, &stop, 10);
		if (stop != end || exponent > EXPONENT_MOST || exponent < -EXPONENT_MOST)
			return false;
		out->point += exponent;
		p = end;
	}
	return p == end;
}

static void put_number(struct buf *out, const struct number *number) {
	const char *digits = number->digits;
	size_t n = number->n;
	long point = number->point;
	while (n > 0 && *digits == '0') {
		digits++;
		n--;
		point--;
	}
	while (n > 0 && digits[n - 1] == '0')
		n--;
	if (n == 0) {
		buf_putc(out, '0');
		return;
	}
	if (number->negative)
		buf_putc(out, '-');
	if (point <= 0)
		buf_puts(out, "0.");
	for (long i = point; i < 0; i++)
		buf_putc(out, '0');
	for (size_t i = 0; i < n; i++) {
		if (point > 0 && (size_t)point == i)
			buf_putc(out, '.');
		buf_putc(out, digits[i]);
	}
	for (long i = (long)n; i < point; i++)
		buf_putc(out, '0');
}

/* "2025-01-31T12:00:00.500+00:00", "2025-01-31 12:00:00.5Z": a time with a zone. */
bool time_canonical(struct buf *out, const char *text, size_t len) {
	static const char form[] = "dddd-dd-dd dd:dd:dd";
	const size_t fixed = sizeof(form) - 1;
	if (len <= fixed)
		return false;
	for (size_t i = 0; i < fixed; i++)
		if (form[i] == 'd'   ? !isdigit((unsigned char)text[i])
		    : form[i] == ' ' ? text[i] != ' ' && text[i] != 'T'
				     : text[i] != form[i])
			return false;
	const char *zone = text + fixed, *end = text + len;
	size_t fraction = *zone == '.' ? 1 + count_digits(zone + 1, end) : 0;
	zone += fraction;
	size_t rest = (size_t)(end - zone);
	bool utc = (rest == 1 && *zone == 'Z') || (rest == 3 && memcmp(zone, "+00", 3) == 0) ||
		   (rest == 6 && memcmp(zone, "+00:00", 6) == 0);
	if (!utc)
		return false;
	while (fraction > 0 && (text[fixed + fraction - 1] == '0' || fraction == 1))
		fraction--;
	buf_add(out, text, 10);
	buf_putc(out, ' ');
	buf_add(out, text + 11, fixed - 11 + fraction);
	buf_putc(out, 'Z');
	return true;
}

void scalar_canonical(struct buf *out, const char *text, size_t len) {
	struct number number;
	if (len > 0 && strchr("0123456789+-.", text[0]) != NULL && text[0] != '\0' &&
	    read_number(text, text + len, &number))
		put_number(out, &number);
	else if (!time_canonical(out, text, len))
		buf_add(out, text, len);
}
