#include "util/text/json_shape.h"

#include "util/text/utf8.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

enum { NESTING_MOST = 512 };

struct scanner {
	const char *start, *p, *end;
	struct shape *top; /* where the keys of the outermost object go */
	struct buf *why;
	int depth;
	/* for a document of many objects */
	struct elements *elements; /* NULL: one object is expected */
	const char *watched;
	struct element now; /* the element that is being scanned */
};

void shape_free(struct shape *shape) {
	for (int i = 0; i < shape->n; i++)
		free(shape->names[i]);
	free(shape->names);
	memset(shape, 0, sizeof(*shape));
}

bool shape_equal(const struct shape *a, const struct shape *b) {
	if (a->n != b->n)
		return false;
	for (int i = 0; i < a->n; i++)
		if (strcmp(a->names[i], b->names[i]) != 0)
			return false;
	return true;
}

static void put_position(struct buf *why, const char *start, const char *at) {
	int line = 1, column = 1;
	for (const char *p = start; p < at; p++) {
		column = *p == '\n' ? 1 : column + 1;
		line += *p == '\n';
	}
	buf_printf(why, "line %d, column %d", line, column);
}

/* Always false, for `return fail(...)`. */
static bool fail(struct scanner *s, const char *what) {
	buf_puts(s->why, "not valid JSON at ");
	put_position(s->why, s->start, s->p);
	buf_printf(s->why, ": %s", what);
	return false;
}

static void skip_space(struct scanner *s) {
	while (s->p < s->end && (*s->p == ' ' || *s->p == '\t' || *s->p == '\n' || *s->p == '\r'))
		s->p++;
}

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

static void put_utf8(struct buf *out, int c) {
	if (c < 0x80) {
		buf_putc(out, (char)c);
	} else if (c < 0x800) {
		buf_putc(out, (char)(0xc0 | c >> 6));
		buf_putc(out, (char)(0x80 | (c & 0x3f)));
	} else {
		if (c < 0x10000) {
			buf_putc(out, (char)(0xe0 | c >> 12));
		} else {
			buf_putc(out, (char)(0xf0 | c >> 18));
			buf_putc(out, (char)(0x80 | (c >> 12 & 0x3f)));
		}
		buf_putc(out, (char)(0x80 | (c >> 6 & 0x3f)));
		buf_putc(out, (char)(0x80 | (c & 0x3f)));
	}
}

/* "\uXXXX", perhaps a surrogate pair; s->p is behind the u. */
static bool scan_unicode(struct scanner *s, struct buf *out) {
	int c = hex4(s->p, s->end);
	if (c < 0)
		return fail(s, "\\u needs four hex digits");
	if (c == 0)
		return fail(s, "\\u0000 cannot be stored as text");
	if (c >= 0xd800 && c < 0xdc00) {
		bool pair = s->end - s->p >= 10 && s->p[4] == '\\' && s->p[5] == 'u';
		int low = pair ? hex4(s->p + 6, s->end) : -1;
		if (low < 0xdc00 || low > 0xdfff)
			return fail(s, "half of a surrogate pair");
		c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
		s->p += 6;
	} else if (c >= 0xdc00 && c <= 0xdfff) {
		return fail(s, "half of a surrogate pair");
	}
	s->p += 4;
	if (out != NULL)
		put_utf8(out, c);
	return true;
}

/* A string, quotes included; decoded into OUT if that is not NULL. */
static bool scan_string(struct scanner *s, struct buf *out) {
	static const char escapes[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
	for (s->p++; s->p < s->end && *s->p != '"'; s->p++) {
		unsigned char c = (unsigned char)*s->p;
		if (c < 0x20)
			return fail(s, "control character in a string (write it as an escape)");
		if (c != '\\') {
			if (out != NULL)
				buf_putc(out, (char)c);
			continue;
		}
		if (++s->p == s->end)
			break;
		const char *e = memchr(escapes, *s->p, sizeof(escapes) - 1);
		if (e != NULL) {
			if (out != NULL)
				buf_putc(out, meanings[e - escapes]);
			continue;
		}
		if (*s->p != 'u')
			return fail(s, "unknown escape");
		s->p++;
		if (!scan_unicode(s, out))
			return false;
		s->p--;
	}
	if (s->p >= s->end)
		return fail(s, "the string does not end");
	s->p++;
	return true;
}

static bool scan_digits(struct scanner *s) {
	const char *from = s->p;
	while (s->p < s->end && isdigit((unsigned char)*s->p))
		s->p++;
	return s->p > from || fail(s, "a digit was expected");
}

static bool scan_number(struct scanner *s) {
	if (*s->p == '-')
		s->p++;
	if (s->p < s->end && *s->p == '0')
		s->p++;
	else if (!scan_digits(s))
		return false;
	if (s->p < s->end && *s->p == '.') {
		s->p++;
		if (!scan_digits(s))
			return false;
	}
	if (s->p < s->end && (*s->p == 'e' || *s->p == 'E')) {
		s->p++;
		if (s->p < s->end && (*s->p == '+' || *s->p == '-'))
			s->p++;
		if (!scan_digits(s))
			return false;
	}
	return true;
}

static bool scan_word(struct scanner *s, const char *word) {
	size_t n = strlen(word);
	if ((size_t)(s->end - s->p) < n || memcmp(s->p, word, n) != 0)
		return fail(s, "a value was expected");
	s->p += n;
	return true;
}

static int compare_names(const void *a, const void *b) {
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void shape_sort(struct shape *shape) {
	if (shape->n > 1)
		qsort(shape->names, (size_t)shape->n, sizeof(*shape->names), compare_names);
}

/* False, and the sentence, if a name stands twice. */
static bool check_twice(struct scanner *s, const struct shape *names) {
	AUTO_FREE char **sorted = calloc((size_t)names->n + 1, sizeof(*sorted));
	if (sorted == NULL)
		return fail(s, "out of memory");
	if (names->n > 0)
		memcpy(sorted, names->names, (size_t)names->n * sizeof(*sorted));
	qsort(sorted, (size_t)names->n, sizeof(*sorted), compare_names);
	for (int i = 1; i < names->n; i++) {
		if (strcmp(sorted[i - 1], sorted[i]) != 0)
			continue;
		buf_printf(s->why, "the key \"%s\" stands twice in the object that ends at ",
			   sorted[i]);
		put_position(s->why, s->start, s->p);
		return false;
	}
	return true;
}

static bool add_name(struct shape *names, struct buf *name) {
	if ((names->n & (names->n - 1)) == 0) { /* full at 0, 1, 2, 4, 8 ... */
		size_t room = names->n > 0 ? (size_t)names->n * 2 : 1;
		char **more = reallocarray(names->names, room, sizeof(*more));
		if (more == NULL)
			return false;
		names->names = more;
	}
	char *taken = buf_take(name);
	if (taken == NULL)
		return false;
	names->names[names->n++] = taken;
	return true;
}

static bool scan_value(struct scanner *s);

/* One object of a document of many; NAME is its key, NULL in an array. */
static bool scan_element(struct scanner *s, const char *name) {
	struct elements *all = s->elements;
	skip_space(s);
	if (s->p < s->end && *s->p != '{')
		return fail(s, "each row must be an object");
	memset(&s->now, 0, sizeof(s->now));
	s->top = &s->now.shape;
	s->now.at = (size_t)(s->p - s->start);
	if (!scan_value(s))
		return false;
	s->now.len = (size_t)(s->p - s->start) - s->now.at;
	if ((all->n & (all->n - 1)) == 0) { /* full at 0, 1, 2, 4, 8 ... */
		size_t room = all->n > 0 ? (size_t)all->n * 2 : 1;
		struct element *more = reallocarray(all->items, room, sizeof(*more));
		if (more == NULL) {
			shape_free(&s->now.shape);
			return fail(s, "out of memory");
		}
		all->items = more;
	}
	s->now.name = name != NULL ? strdup(name) : NULL;
	all->items[all->n++] = s->now;
	return name == NULL || s->now.name != NULL || fail(s, "out of memory");
}

/* The value of the key NAME. */
static bool scan_member(struct scanner *s, const char *name) {
	if (s->elements != NULL && s->depth == 1)
		return scan_element(s, name);
	skip_space(s);
	size_t at = (size_t)(s->p - s->start);
	bool watched = s->watched != NULL && s->depth == 2 && strcmp(name, s->watched) == 0;
	if (!scan_value(s))
		return false;
	if (watched) {
		s->now.watched_at = at;
		s->now.watched_len = (size_t)(s->p - s->start) - at;
	}
	return true;
}

static bool scan_members(struct scanner *s, struct shape *names) {
	s->p++;
	skip_space(s);
	if (s->p < s->end && *s->p == '}') {
		s->p++;
		return true;
	}
	for (;;) {
		AUTO_BUF struct buf name = { 0 };
		buf_puts(&name, "");
		skip_space(s);
		if (s->p >= s->end || *s->p != '"')
			return fail(s, "a key in double quotes was expected");
		if (!scan_string(s, &name))
			return false;
		if (!add_name(names, &name))
			return fail(s, "out of memory");
		skip_space(s);
		if (s->p >= s->end || *s->p != ':')
			return fail(s, "a colon was expected");
		s->p++;
		if (!scan_member(s, names->names[names->n - 1]))
			return false;
		skip_space(s);
		if (s->p < s->end && *s->p == '}')
			break;
		if (s->p >= s->end || *s->p != ',')
			return fail(s, "a comma or } was expected");
		s->p++;
	}
	s->p++;
	return check_twice(s, names);
}

static bool scan_object(struct scanner *s) {
	AUTO_SHAPE struct shape names = { 0 };
	bool ok = scan_members(s, &names);
	if (ok && s->depth == (s->elements != NULL ? 2 : 1)) {
		*s->top = names;
		memset(&names, 0, sizeof(names));
	}
	return ok;
}

static bool scan_array(struct scanner *s) {
	s->p++;
	skip_space(s);
	if (s->p < s->end && *s->p == ']') {
		s->p++;
		return true;
	}
	for (;;) {
		bool element = s->elements != NULL && s->depth == 1;
		if (element ? !scan_element(s, NULL) : !scan_value(s))
			return false;
		skip_space(s);
		if (s->p < s->end && *s->p == ']')
			break;
		if (s->p >= s->end || *s->p != ',')
			return fail(s, "a comma or ] was expected");
		s->p++;
	}
	s->p++;
	return true;
}

static bool scan_value(struct scanner *s) {
	bool ok;
	skip_space(s);
	if (s->p >= s->end)
		return fail(s, "a value was expected");
	if (++s->depth > NESTING_MOST)
		return fail(s, "nested too deeply");
	switch (*s->p) {
	case '{':
		ok = scan_object(s);
		break;
	case '[':
		ok = scan_array(s);
		break;
	case '"':
		ok = scan_string(s, NULL);
		break;
	case 't':
		ok = scan_word(s, "true");
		break;
	case 'f':
		ok = scan_word(s, "false");
		break;
	case 'n':
		ok = scan_word(s, "null");
		break;
	default:
		ok = *s->p == '-' || isdigit((unsigned char)*s->p)
			     ? scan_number(s)
			     : fail(s, "a value was expected");
	}
	s->depth--;
	return ok;
}

/* One value and nothing behind it. */
static bool scan_document(struct scanner *s, size_t len) {
	if (text_check(s->start, len, s->why) != 0 || !scan_value(s))
		return false;
	skip_space(s);
	return s->p == s->end || fail(s, "text after the document");
}

int json_check(const char *json, size_t len, struct buf *why) {
	AUTO_SHAPE struct shape ignored = { 0 };
	struct scanner s = {
		.start = json, .p = json, .end = json + len, .top = &ignored, .why = why
	};
	return scan_document(&s, len) ? 0 : -EINVAL;
}

int shape_scan(const char *json, size_t len, struct shape *out, struct buf *why) {
	struct scanner s = { .start = json, .p = json, .end = json + len, .top = out, .why = why };
	memset(out, 0, sizeof(*out));
	skip_space(&s);
	if (s.p == s.end) {
		buf_puts(why, "empty: a JSON object was expected");
		return -EINVAL;
	}
	bool object = *s.p == '{', ok = scan_document(&s, len);
	if (ok && !object) {
		buf_puts(why, "a JSON object was expected, not another kind of value");
		ok = false;
	}
	if (!ok)
		shape_free(out);
	return ok ? 0 : -EINVAL;
}

void elements_free(struct elements *elements) {
	for (int i = 0; i < elements->n; i++) {
		free(elements->items[i].name);
		shape_free(&elements->items[i].shape);
	}
	free(elements->items);
	memset(elements, 0, sizeof(*elements));
}

int elements_scan(const char *json, size_t len, bool object, const char *watched,
		  struct elements *out, struct buf *why) {
	struct scanner s = { .start = json,
			     .p = json,
			     .end = json + len,
			     .why = why,
			     .elements = out,
			     .watched = watched };
	memset(out, 0, sizeof(*out));
	skip_space(&s);
	bool right = s.p < s.end && *s.p == (object ? '{' : '[');
	if (right && scan_document(&s, len))
		return 0;
	if (!right)
		buf_printf(why, "%sa JSON %s of objects was expected",
			   s.p == s.end ? "empty: " : "", object ? "object" : "array");
	elements_free(out);
	return -EINVAL;
}

bool json_is_text(const char *json, size_t len, const char *name) {
	AUTO_BUF struct buf text = { 0 }, ignored = { 0 };
	struct scanner s = { .start = json, .p = json, .end = json + len, .why = &ignored };
	buf_puts(&text, "");
	if (len == 0 || json[0] == '{' || json[0] == '[' || json[0] == 'n')
		return false;
	if (json[0] != '"')
		return strlen(name) == len && memcmp(json, name, len) == 0;
	return scan_string(&s, &text) && strcmp(text.data, name) == 0;
}

int text_check(const char *data, size_t len, struct buf *why) {
	size_t good = utf8_prefix(data, len);
	if (good == len)
		return 0;
	if (data[good] == '\0')
		buf_puts(why, "a NUL byte at ");
	else
		buf_puts(why, "not UTF-8 at ");
	put_position(why, data, data + good);
	return -EINVAL;
}
