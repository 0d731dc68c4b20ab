#include "util/text/utf8.h"

#include <string.h>

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

int64_t utf8_count(const char *s, size_t len) {
	int64_t n = 0;
	for (size_t i = 0; i < len; i++)
		n += ((unsigned char)s[i] & 0xc0) != 0x80;
	return n;
}

void utf8_put(struct buf *out, int c) {
	static const int first[] = { 0, 0xc0, 0xe0, 0xf0 };
	int more = c < 0x80 ? 0 : c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
	buf_putc(out, (char)(first[more] | c >> (6 * more)));
	while (more-- > 0)
		buf_putc(out, (char)(0x80 | (c >> (6 * more) & 0x3f)));
}

size_t utf8_mark(const char *s, size_t len) {
	return len >= 3 && memcmp(s, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
}
