#include "util/text/name.h"

#include "util/text/utf8.h"

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
