#include "util/text/json_tree.h"

#include "util/text/json.h"
#include "util/list.h"

#include <stdint.h>
#include <string.h>

static int compare_keys(const void *a, const void *b) {
	return strcmp(((const struct json *)a)->key, ((const struct json *)b)->key);
}

static bool read_value(struct json_scan *s, struct json *out);

static bool read_child(struct json_scan *s, struct buf *name, void *arg) {
	struct json *json = arg;
	if (!list_room(json->children, json->n))
		return json_fail(s, "out of memory");
	struct json *child = &json->children[json->n++];
	*child = (struct json){ 0 };
	if (name != NULL && (child->key = buf_take(name)) == NULL)
		return json_fail(s, "out of memory");
	return read_value(s, child);
}

static bool read_scalar(struct json_scan *s, struct json *out) {
	AUTO_BUF struct buf raw = { 0 }, text = { 0 };
	const char *from = s->p;
	if (*from != '"') {
		if (!json_scalar(s))
			return false;
		scalar_canonical(&text, from, (size_t)(s->p - from));
	} else {
		buf_puts(&raw, "");
		if (!json_string(s, &raw) || raw.failed)
			return false;
		buf_putc(&text, '"');
		if (!time_canonical(&text, raw.data, raw.len))
			buf_add(&text, raw.data, raw.len);
	}
	out->text = buf_take(&text);
	return out->text != NULL;
}

static bool read_value(struct json_scan *s, struct json *out) {
	out->type = *s->p == '{' ? JSON_OBJECT : *s->p == '[' ? JSON_ARRAY : JSON_SCALAR;
	if (out->type == JSON_SCALAR)
		return read_scalar(s, out);
	if (!json_children(s, read_child, out))
		return false;
	if (out->type == JSON_OBJECT && out->n > 1)
		qsort(out->children, (size_t)out->n, sizeof(*out->children), compare_keys);
	return true;
}

static bool read_root(struct json_scan *s, struct buf *name, void *arg) {
	return read_value(s, arg);
}

bool json_read(const char *text, size_t len, struct json *out) {
	AUTO_BUF struct buf ignored = { 0 };
	*out = (struct json){ 0 };
	return json_document(text, len, read_root, out, &ignored) == 0;
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
