/* Numbers and times in one spelling, so that they can be compared as texts. */
#include "util/text/json_tree.h"

#include "util/text/number.h"

#include <ctype.h>
#include <string.h>

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
	size_t fraction = *zone == '.' ? 1 + number_digits(zone + 1, end) : 0;
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
	if (!number_canonical(out, text, len) && !time_canonical(out, text, len))
		buf_add(out, text, len);
}
