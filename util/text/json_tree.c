#include "util/text/json_tree.h"

#include <stdint.h>
#include <string.h>

enum { DEEPEST = 512 };

struct reader {
	const char *p, *end;
	int depth;
};

static bool read_value(struct reader *r, struct json *out);

static bool is_one_of(char c, const char *set) {
	return c != '\0' && strchr(set, c) != NULL;
}

static void skip_space(struct reader *r) {
	while (r->p < r->end && is_one_of(*r->p, " \t\r\n"))
		r->p++;
}

static bool take(struct reader *r, char c) {
	skip_space(r);
	if (r->p == r->end || *r->p != c)
		return false;
	r->p++;
	return true;
}

/* -- strings ----------------------------------------------------------------------------------- */

static bool read_hex(struct reader *r, uint32_t *out) {
	uint32_t value = 0;
	if (r->end - r->p < 4)
		return false;
	for (int i = 0; i < 4; i++, r->p++) {
		char c = *r->p;
		uint32_t digit = c >= '0' && c <= '9'   ? (uint32_t)(c - '0')
				 : c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a' + 10)
				 : c >= 'A' && c <= 'F' ? (uint32_t)(c - 'A' + 10)
							: 16;
		if (digit == 16)
			return false;
		value = value * 16 + digit;
	}
	*out = value;
	return true;
}

static void put_utf8(struct buf *out, uint32_t c) {
	if (c < 0x80) {
		buf_putc(out, (char)c);
		return;
	}
	int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
	static const unsigned char first[] = { 0, 0xc0, 0xe0, 0xf0 };
	buf_putc(out, (char)(first[more] | (c >> (6 * more))));
	while (more-- > 0)
		buf_putc(out, (char)(0x80 | ((c >> (6 * more)) & 0x3f)));
}

/* Behind "\u". */
static bool read_unicode(struct reader *r, struct buf *out) {
	uint32_t c, low;
	if (!read_hex(r, &c) || c == 0)
		return false;
	if (c >= 0xd800 && c < 0xdc00 && r->end - r->p >= 6 && r->p[0] == '\\' && r->p[1] == 'u') {
		r->p += 2;
		if (!read_hex(r, &low) || low < 0xdc00 || low > 0xdfff)
			return false;
		c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
	}
	put_utf8(out, c);
	return true;
}

/* A string, behind its opening quote, decoded. */
static bool read_string(struct reader *r, struct buf *out) {
	static const char escapes[] = "\"\\/bfnrt", means[] = "\"\\/\b\f\n\r\t";
	while (r->p < r->end && *r->p != '"') {
		char c = *r->p++;
		if (c != '\\') {
			buf_putc(out, c);
			continue;
		}
		if (r->p == r->end)
			return false;
		c = *r->p++;
		const char *at = c != '\0' ? strchr(escapes, c) : NULL;
		if (at != NULL)
			buf_putc(out, means[at - escapes]);
		else if (c != 'u' || !read_unicode(r, out))
			return false;
	}
	return r->p < r->end && *r->p++ == '"';
}

/* -- values ------------------------------------------------------------------------------------ */

static int compare_keys(const void *a, const void *b) {
	return strcmp(((const struct json *)a)->key, ((const struct json *)b)->key);
}

static struct json *add_child(struct json *json) {
	if ((json->n & (json->n - 1)) == 0) { /* full at 0, 1, 2, 4, 8 ... */
		size_t room = json->n > 0 ? (size_t)json->n * 2 : 1;
		struct json *more = reallocarray(json->children, room, sizeof(*more));
		if (more == NULL)
			return NULL;
		json->children = more;
	}
	struct json *child = &json->children[json->n++];
	*child = (struct json){ 0 };
	return child;
}

static bool read_children(struct reader *r, struct json *out, char close) {
	if (take(r, close))
		return true;
	do {
		AUTO_BUF struct buf key = { 0 };
		struct json *child = add_child(out);
		if (child == NULL)
			return false;
		if (out->type == JSON_OBJECT) {
			if (!take(r, '"') || !read_string(r, &key) || !take(r, ':'))
				return false;
			child->key = buf_take(&key);
			if (child->key == NULL)
				return false;
		}
		if (!read_value(r, child))
			return false;
	} while (take(r, ','));
	return take(r, close);
}

static bool read_scalar(struct reader *r, struct json *out) {
	AUTO_BUF struct buf raw = { 0 }, text = { 0 };
	if (take(r, '"')) {
		buf_puts(&raw, "");
		if (!read_string(r, &raw) || raw.failed)
			return false;
		buf_putc(&text, '"');
		if (!time_canonical(&text, raw.data, raw.len))
			buf_add(&text, raw.data, raw.len);
	} else {
		const char *from = r->p;
		while (r->p < r->end && !is_one_of(*r->p, ",]} \t\r\n"))
			r->p++;
		size_t len = (size_t)(r->p - from);
		if (len == 0 || !is_one_of(*from, "-0123456789tfn"))
			return false;
		scalar_canonical(&text, from, len);
	}
	out->text = buf_take(&text);
	return out->text != NULL;
}

static bool read_value(struct reader *r, struct json *out) {
	bool ok;
	skip_space(r);
	if (r->p == r->end || r->depth > DEEPEST)
		return false;
	r->depth++;
	out->type = *r->p == '{' ? JSON_OBJECT : *r->p == '[' ? JSON_ARRAY : JSON_SCALAR;
	if (out->type == JSON_SCALAR) {
		ok = read_scalar(r, out);
	} else {
		r->p++;
		ok = read_children(r, out, out->type == JSON_OBJECT ? '}' : ']');
	}
	if (ok && out->type == JSON_OBJECT && out->n > 1)
		qsort(out->children, (size_t)out->n, sizeof(*out->children), compare_keys);
	r->depth--;
	return ok;
}

bool json_read(const char *text, size_t len, struct json *out) {
	struct reader r = { .p = text, .end = text + len };
	*out = (struct json){ 0 };
	if (len == 0 || !read_value(&r, out))
		return false;
	skip_space(&r);
	return r.p == r.end;
}

void json_free(struct json *json) {
	for (int i = 0; i < json->n; i++)
		json_free(&json->children[i]);
	free(json->children);
	free(json->key);
	free(json->text);
	*json = (struct json){ 0 };
}

/* -- comparing --------------------------------------------------------------------------------- */

const struct json *json_member(const struct json *object, const char *key) {
	const struct json wanted = { .key = (char *)(uintptr_t)key };
	if (object->type != JSON_OBJECT || object->n == 0)
		return NULL;
	return bsearch(&wanted, object->children, (size_t)object->n, sizeof(wanted), compare_keys);
}

void json_canonical(struct buf *out, const struct json *json) {
	if (json->type == JSON_SCALAR) {
		if (json->text[0] == '"')
			buf_json_string(out, json->text + 1, strlen(json->text + 1));
		else
			buf_puts(out, json->text);
		return;
	}
	buf_putc(out, json->type == JSON_OBJECT ? '{' : '[');
	for (int i = 0; i < json->n; i++) {
		const struct json *child = &json->children[i];
		if (i > 0)
			buf_putc(out, ',');
		if (child->key != NULL) {
			buf_json_string(out, child->key, strlen(child->key));
			buf_putc(out, ':');
		}
		json_canonical(out, child);
	}
	buf_putc(out, json->type == JSON_OBJECT ? '}' : ']');
}

bool json_same(const struct json *older, const struct json *newer, int covers) {
	if (older->type != newer->type)
		return false;
	if (older->type == JSON_SCALAR)
		return strcmp(older->text, newer->text) == 0;
	bool more = older->type == JSON_OBJECT && covers > 0;
	if (!more && older->n != newer->n)
		return false;
	for (int i = 0; i < older->n; i++) {
		const struct json *child = &older->children[i];
		const struct json *other = older->type == JSON_OBJECT
						   ? json_member(newer, child->key)
						   : &newer->children[i];
		if (other == NULL || !json_same(child, other, covers - 1))
			return false;
	}
	return true;
}
