#include "util/text/name.h"

#include <string.h>

static bool must_encode(unsigned char c, const char *also) {
	return c < 0x20 || c == 0x7f || c == '/' || c == '%' ||
	       (also[0] != '\0' && strchr(also, c) != NULL);
}

void name_encode(struct buf *out, const char *key, const char *also) {
	if (key[0] == '\0') {
		buf_putc(out, '%');
		return;
	}
	bool dots = strcmp(key, ".") == 0 || strcmp(key, "..") == 0;
	const char *plain = key, *p = key; /* from PLAIN to P nothing is encoded */
	for (; *p != '\0'; p++) {
		if (!dots && !must_encode((unsigned char)*p, also))
			continue;
		buf_add(out, plain, (size_t)(p - plain));
		buf_printf(out, "%%%02X", (unsigned char)*p);
		plain = p + 1;
	}
	buf_add(out, plain, (size_t)(p - plain));
}

static int hex_value(char c) {
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
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
		if (name[i] != '%') {
			if (must_encode((unsigned char)name[i], ""))
				return false;
			continue;
		}
		buf_add(out, name + plain, i - plain);
		if (len - i < 3)
			return false;
		int high = hex_value(name[i + 1]), low = hex_value(name[i + 2]);
		if (high < 0 || low < 0 || high + low == 0)
			return false;
		buf_putc(out, (char)(high * 16 + low));
		i += 2;
		plain = i + 1;
	}
	buf_add(out, name + plain, len - plain);
	return len > 0 && !out->failed && utf8_valid(out->data + start, out->len - start);
}

/* Length of the UTF-8 sequence at S (1 to 4), 0 if invalid. Table 3-7 of the Unicode standard. */
static size_t utf8_sequence(const unsigned char *s, size_t len) {
	unsigned char c = s[0], low = 0x80, high = 0xbf;
	size_t n;
	if (c < 0x80)
		return c != 0;
	if (c >= 0xc2 && c <= 0xdf) {
		n = 2;
	} else if (c >= 0xe0 && c <= 0xef) {
		n = 3;
		low = c == 0xe0 ? 0xa0 : 0x80;
		high = c == 0xed ? 0x9f : 0xbf;
	} else if (c >= 0xf0 && c <= 0xf4) {
		n = 4;
		low = c == 0xf0 ? 0x90 : 0x80;
		high = c == 0xf4 ? 0x8f : 0xbf;
	} else {
		return 0;
	}
	if (len < n || s[1] < low || s[1] > high)
		return 0;
	for (size_t i = 2; i < n; i++)
		if (s[i] < 0x80 || s[i] > 0xbf)
			return 0;
	return n;
}

size_t utf8_prefix(const char *s, size_t len) {
	size_t i = 0, n;
	while (i < len && (n = utf8_sequence((const unsigned char *)s + i, len - i)) > 0)
		i += n;
	return i;
}

bool utf8_valid(const char *s, size_t len) {
	return utf8_prefix(s, len) == len;
}
