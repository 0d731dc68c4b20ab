#include "util/text/decimal.h"

#include <errno.h>
#include <stdlib.h>

bool decimal_read(const char *text, int64_t least, int64_t most, int64_t *out) {
	if (text == NULL)
		return false;
	const char *digits = text[0] == '-' ? text + 1 : text;
	char *end;
	if (digits[0] < '0' || digits[0] > '9') /* strtoll() takes blanks and a plus sign */
		return false;
	errno = 0;
	long long value = strtoll(text, &end, 10);
	if (errno != 0 || *end != '\0' || value < least || value > most)
		return false;
	*out = value;
	return true;
}
