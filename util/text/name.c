#include "util/text/name.h"

#include "util/text/utf8.h"

#include <string.h>

static bool has(const char *set, char c) {
	while (*set != '\0' && *set != c)
		set++;
	return *set != '\0';
}

static bool is_control(char c) {
	return (unsigned char)c < 0x20 || c == 0x7f;
}

static int hex_value(char c) {
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int percent_byte(const char *p, size_t len) {
	int high = len >= 3 && p[0] == '%' ? hex_value(p[1]) : -1;
	int low = high >= 0 ? hex_value(p[2]) : -1;
	return low >= 0 && high + low > 0 ? high * 16 + low : -1;
}

/* True if the '%' at P in the key TEXT would be read as an escape, as the name of the empty key, or
 * as the mark of a name by id. */
static bool is_mistaken(const char *text, const char *p) {
	return percent_byte(p, strnlen(p, 3)) >= 0 ||
	       (p == text && (p[1] == '\0' || strncmp(p, NAME_BY_ID, strlen(NAME_BY_ID)) == 0));
}

/* KEY: '%' is encoded where it would be mistaken. */
static void put(struct buf *out, const char *text, const char *odd, const char *also, bool key) {
	const char *plain = text, *p = text; /* from PLAIN to P nothing is encoded */
	for (; *p != '\0'; p++) {
		if (!is_control(*p) && !has(odd, *p) && !has(also, *p) &&
		    !(key && *p == '%' && is_mistaken(text, p)))
			continue;
		buf_add(out, plain, (size_t)(p - plain));
		buf_printf(out, "%%%02X", (unsigned char)*p);
		plain = p + 1;
	}
	buf_add(out, plain, (size_t)(p - plain));
}

void percent_put(struct buf *out, const char *text, const char *odd, const char *also) {
	put(out, text, odd, also, false);
}

void percent_put_invalid(struct buf *out, const char *text, size_t most) {
	enum { LETTER_MOST = 4 }; /* bytes */
	size_t end = most > 0 ? out->len + most : SIZE_MAX;
	buf_puts(out, "");
	while (*text != '\0' && !out->failed && end - out->len >= LETTER_MOST) {
		size_t n = utf8_prefix(text, strnlen(text, end - out->len));
		buf_add(out, text, n);
		text += n;
		if (*text != '\0' && end - out->len >= LETTER_MOST)
			buf_printf(out, "%%%02X", (unsigned char)*text++);
	}
}

void name_encode(struct buf *out, const char *key, const char *also) {
	bool dots = strcmp(key, ".") == 0 || strcmp(key, "..") == 0;
	if (key[0] == '\0')
		buf_putc(out, '%');
	else
		put(out, key, "/", dots ? "." : also, true);
}

bool name_decode(struct buf *out, const char *name, size_t len) {
	size_t start = out->len;
	if (len == 1 && name[0] == '%') {
		buf_puts(out, "");
		return !out->failed;
	}
	if ((len == 1 || (len == 2 && name[1] == '.')) && name[0] == '.')
		return false; /* encoded even within a longer name */

	size_t plain = 0; /* start of what is itself */
	for (size_t i = 0; i < len; i++) {
		int byte = percent_byte(name + i, len - i);
		if (byte < 0) {
			if (is_control(name[i]) || name[i] == '/')
				return false;
			continue;
		}
		buf_add(out, name + plain, i - plain);
		buf_putc(out, (char)byte);
		i += 2;
		plain = i + 1;
	}
	buf_add(out, name + plain, len - plain);
	return len > 0 && !out->failed && utf8_valid(out->data + start, out->len - start);
}
