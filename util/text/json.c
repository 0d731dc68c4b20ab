#include "util/text/json.h"

#include "util/text/number.h"
#include "util/text/utf8.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

enum { NESTING_MOST = 512 };

/* -- what is wrong ----------------------------------------------------------------------------- */

void json_put_position(struct buf *out, const char *start, const char *at) {
	int line = 1, column = 1;
	for (const char *p = start; p < at; p++) {
		column = *p == '\n' ? 1 : column + 1;
		line += *p == '\n';
	}
	buf_printf(out, "line %d, column %d", line, column);
}

bool json_fail(struct json_scan *s, const char *what) {
	buf_puts(s->why, "not valid JSON at ");
	json_put_position(s->why, s->start, s->p);
	buf_printf(s->why, ": %s", what);
	return false;
}

int text_check(const char *data, size_t len, struct buf *why) {
	size_t good = utf8_prefix(data, len);
	if (good == len)
		return 0;
	buf_puts(why, data[good] == '\0' ? "a NUL byte at " : "not UTF-8 at ");
	json_put_position(why, data, data + good);
	return -EINVAL;
}

/* -- characters -------------------------------------------------------------------------------- */

void json_skip_space(const char **p, const char *end) {
	while (*p < end && (**p == ' ' || **p == '\t' || **p == '\n' || **p == '\r'))
		++*p;
}

/* Behind white space: is C next? Then it is passed. */
static bool take(struct json_scan *s, char c) {
	json_skip_space(&s->p, s->end);
	bool is = s->p < s->end && *s->p == c;
	s->p += is;
	return is;
}

/* The value of four hex digits; negative: they are none. */
static int hex4(const char *p, const char *end) {
	int value = 0;
	if (end - p < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		if (!isxdigit((unsigned char)p[i]))
			return -1;
		int c = tolower((unsigned char)p[i]);
		value = value * 16 + (c <= '9' ? c - '0' : c - 'a' + 10);
	}
	return value;
}

/* "\uXXXX", perhaps a surrogate pair; s->p is behind the u. */
static bool scan_unicode(struct json_scan *s, struct buf *out) {
	int c = hex4(s->p, s->end);
	if (c < 0)
		return json_fail(s, "\\u needs four hex digits");
	if (s->stored) {
		s->p += 4;
		return true;
	}
	if (c == 0)
		return json_fail(s, "\\u0000 cannot be stored as text");
	if (c >= 0xd800 && c < 0xe000) {
		bool pair = c < 0xdc00 && s->end - s->p >= 10 && s->p[4] == '\\' && s->p[5] == 'u';
		int low = pair ? hex4(s->p + 6, s->end) : -1;
		if (low < 0xdc00 || low > 0xdfff)
			return json_fail(s, "half of a surrogate pair");
		c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
		s->p += 6;
	}
	s->p += 4;
	if (out != NULL)
		utf8_put(out, c);
	return true;
}

bool json_string(struct json_scan *s, struct buf *out) {
	static const char escapes[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
	const char *plain = ++s->p; /* from there to s->p nothing is escaped */
	for (; s->p < s->end && *s->p != '"'; plain = s->p) {
		while (s->p < s->end && *s->p != '"' && *s->p != '\\' &&
		       (unsigned char)*s->p >= 0x20)
			s->p++;
		if (out != NULL)
			buf_add(out, plain, (size_t)(s->p - plain));
		if (s->p == s->end || *s->p == '"')
			break;
		if (*s->p != '\\')
			return json_fail(s,
					 "control character in a string (write it as an escape)");
		if (++s->p == s->end)
			break;
		const char *e = memchr(escapes, *s->p, sizeof(escapes) - 1);
		if (e == NULL && *s->p != 'u')
			return json_fail(s, "unknown escape");
		s->p++;
		if (e != NULL && out != NULL)
			buf_putc(out, meanings[e - escapes]);
		if (e == NULL && !scan_unicode(s, out))
			return false;
	}
	if (s->p == s->end)
		return json_fail(s, "the string does not end");
	s->p++;
	return true;
}

/* -- values ------------------------------------------------------------------------------------ */

bool json_scalar(struct json_scan *s) {
	static const char *const words[] = { "true", "false", "null" };
	if (*s->p == '"')
		return json_string(s, NULL);
	if (*s->p == '-' || isdigit((unsigned char)*s->p))
		return number_skip(&s->p, s->end) || json_fail(s, "a digit was expected");
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		size_t n = strlen(words[i]);
		if ((size_t)(s->end - s->p) < n || memcmp(s->p, words[i], n) != 0)
			continue;
		s->p += n;
		return true;
	}
	return json_fail(s, "a value was expected");
}

/* The value that comes next, behind white space. */
static bool visit_value(struct json_scan *s, json_visit *visit, struct buf *name, void *arg) {
	json_skip_space(&s->p, s->end);
	if (s->p == s->end)
		return json_fail(s, "a value was expected");
	if (s->depth == NESTING_MOST)
		return json_fail(s, "nested too deeply");
	return visit(s, name, arg);
}

static bool scan_key(struct json_scan *s, struct buf *name) {
	buf_puts(name, "");
	json_skip_space(&s->p, s->end);
	if (s->p == s->end || *s->p != '"')
		return json_fail(s, "a key in double quotes was expected");
	return json_string(s, name) && (take(s, ':') || json_fail(s, "a colon was expected"));
}

bool json_children(struct json_scan *s, json_visit *visit, void *arg) {
	bool object = *s->p++ == '{';
	char close = object ? '}' : ']';
	s->depth++;
	if (!take(s, close)) {
		do {
			AUTO_BUF struct buf name = { 0 };
			if (object && !scan_key(s, &name))
				return false;
			if (!visit_value(s, visit, object ? &name : NULL, arg))
				return false;
		} while (take(s, ','));
		if (!take(s, close))
			return json_fail(s, object ? "a comma or } was expected"
						   : "a comma or ] was expected");
	}
	s->depth--;
	return true;
}

int json_document(const char *text, size_t len, json_visit *visit, void *arg, struct buf *why) {
	struct json_scan s = { .start = text, .p = text, .end = text + len, .why = why };
	if (text_check(text, len, why) != 0 || !visit_value(&s, visit, NULL, arg))
		return -EINVAL;
	json_skip_space(&s.p, s.end);
	return s.p == s.end || json_fail(&s, "text after the document") ? 0 : -EINVAL;
}
