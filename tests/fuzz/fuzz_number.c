/* The numbers of util/text/number.h: the same text is judged alike by all, whatever stands behind
 * it, and one spelling is a number in that spelling. */
#include "tests/fuzz/fuzz.h"

#include "util/text/number.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	/* memory of its own, so that a byte too far is seen */
	AUTO_FREE char *text = malloc(size + 1);
	AUTO_BUF struct buf one = { 0 }, again = { 0 };
	int64_t value = 0, rendered = -1;
	if (text == NULL || size == 0)
		return 0;
	memcpy(text, data, size);
	char *exact = realloc(text, size);
	text = exact != NULL ? exact : text;
	bool whole = number_read(text, size, INT64_MIN, INT64_MAX, &value);
	HOLDS(whole == (number_integer(text, size, 64, &rendered) == NUMBER_FITS));
	if (whole)
		HOLDS(snprintf(NULL, 0, "%lld", (long long)value) == rendered || value == 0);
	bool spelled = number_canonical(&one, text, size);
	HOLDS(spelled == (one.len > 0));
	enum number_verdict verdict = number_numeric(text, size, -1, 0, &rendered);
	if (verdict == NUMBER_FITS && spelled)
		HOLDS((int64_t)one.len == rendered || strcmp(one.data, "0") == 0);
	if (spelled)
		HOLDS(number_canonical(&again, one.data, one.len) &&
		      strcmp(one.data, again.data) == 0);
	const char *at = text;
	if (number_skip(&at, text + size) && at == text + size)
		HOLDS(verdict != NUMBER_IS_NONE);
	HOLDS(at >= text && at <= text + size);
	return 0;
}
