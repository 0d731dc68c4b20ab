#include "schema/layout/key_text.h"

#include "util/text/utf8.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* -- whole numbers ----------------------------------------------------------------------------- */

static enum key_text whole_number(const char *text, long long least, long long most) {
	const char *digits = text + strspn(text, " ");
	bool sign = *digits == '-' || *digits == '+';
	digits += sign;
	size_t n = strspn(digits, "0123456789");
	if (n == 0 || digits[n + strspn(digits + n, " ")] != '\0')
		return KEY_NO_VALUE;
	errno = 0;
	long long value = strtoll(text, NULL, 10);
	if (errno != 0 || value < least || value > most)
		return KEY_OTHER_SPELLING;
	bool zero = digits[0] == '0' && (n > 1 || sign);
	return zero || text[0] == '+' || text[0] == ' ' || digits[n] != '\0' ? KEY_OTHER_SPELLING
									     : KEY_MAY_BE;
}

/* -- uuid -------------------------------------------------------------------------------------- */

static enum key_text uuid(const char *text) {
	static const char shape[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
	bool same = strlen(text) == strlen(shape);
	int digits = 0;
	for (const char *p = text; *p != '\0'; p++) {
		if (isxdigit((unsigned char)*p))
			digits++;
		else if (strchr("-{}", *p) == NULL)
			return KEY_NO_VALUE;
		if (same)
			same = shape[p - text] == '-'
				       ? *p == '-'
				       : isxdigit((unsigned char)*p) && !isupper((unsigned char)*p);
	}
	return digits != 32 ? KEY_NO_VALUE : same ? KEY_MAY_BE : KEY_OTHER_SPELLING;
}

/* -- time buckets ------------------------------------------------------------------------------ */

struct time_part {
	char letter;
	int width, least, most;
};

static const struct time_part parts[] = {
	{ 'Y', 4, 1, 9999 }, { 'm', 2, 1, 12 }, { 'd', 2, 1, 31 },
	{ 'H', 2, 0, 23 },   { 'M', 2, 0, 59 }, { 'S', 2, 0, 59 },
};

static const struct time_part *part_of(char letter) {
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		if (parts[i].letter == letter)
			return &parts[i];
	return NULL;
}

static int days_of(int year, int month) {
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
	return month == 2 && leap ? 29 : days[month - 1];
}

/* The digits at *TEXT as PART, of its width or fewer; -1 if they are none. *OTHER is set if they
 * are fewer, or out of range. */
static int take_part(const struct time_part *part, const char **text, bool *other) {
	int value = 0, n = 0;
	for (; n < part->width && **text >= '0' && **text <= '9'; n++, (*text)++)
		value = value * 10 + (**text - '0');
	*other = *other || n < part->width || value < part->least || value > part->most;
	return n > 0 ? value : -1;
}

/* The formats of buckets have no other letters: see check_bucket(). */
static enum key_text bucket(const char *format, const char *text) {
	int year = 1, month = 1, day = 1;
	bool other = false;
	for (const char *f = format; *f != '\0'; f++) {
		const struct time_part *part = f[0] == '%' ? part_of(f[1]) : NULL;
		if (part == NULL) {
			f += f[0] == '%' && f[1] == '%';
			if (*text++ != *f)
				return KEY_NO_VALUE;
			continue;
		}
		f++;
		int value = take_part(part, &text, &other);
		if (value < 0)
			return KEY_NO_VALUE;
		year = part->letter == 'Y' ? value : year;
		month = part->letter == 'm' ? value : month;
		day = part->letter == 'd' ? value : day;
	}
	if (*text != '\0')
		return KEY_NO_VALUE;
	return other || day > days_of(year, month) ? KEY_OTHER_SPELLING : KEY_MAY_BE;
}

/* -- texts of a length ------------------------------------------------------------------------- */

static enum key_text varying(const struct column *column, const char *text) {
	int most = column->modifier - 4; /* as PostgreSQL counts it */
	return most > 0 && utf8_count(text, strlen(text)) > most ? KEY_NO_VALUE : KEY_MAY_BE;
}

enum key_text key_text(const struct key *key, const char *text) {
	if (key->column == NULL)
		return KEY_MAY_BE;
	const char *base = key->column->base;
	if (key->format != NULL)
		return bucket(key->format, text);
	switch (base[0]) { /* each name is looked at, each time: most are none of these */
	case 's':
		return strcmp(base, "smallint") == 0 ? whole_number(text, INT16_MIN, INT16_MAX)
						     : KEY_MAY_BE;
	case 'i':
		return strcmp(base, "integer") == 0 ? whole_number(text, INT32_MIN, INT32_MAX)
						    : KEY_MAY_BE;
	case 'b':
		return strcmp(base, "bigint") == 0 ? whole_number(text, INT64_MIN, INT64_MAX)
						   : KEY_MAY_BE;
	case 'u':
		return strcmp(base, "uuid") == 0 ? uuid(text) : KEY_MAY_BE;
	case 'c':
		return strcmp(base, "character varying") == 0 ? varying(key->column, text)
							      : KEY_MAY_BE;
	default:
		return KEY_MAY_BE;
	}
}
