#include "util/text/json_shape.h"

#include "util/list.h"

#include <errno.h>
#include <string.h>

/* -- lists of names ---------------------------------------------------------------------------- */

void shape_free(struct shape *shape) {
	for (int i = 0; i < shape->n; i++)
		free(shape->names[i]);
	free(shape->names);
	*shape = (struct shape){ 0 };
}

/* NAME is taken over; NULL: there was no memory for it. */
static bool add_taken(struct shape *shape, char *name) {
	AUTO_FREE char *taken = name;
	if (taken == NULL || !list_room(shape->names, shape->n))
		return false;
	shape->names[shape->n++] = move_ptr(taken);
	return true;
}

bool shape_add(struct shape *shape, const char *name, size_t len) {
	return add_taken(shape, strndup(name, len));
}

bool shape_copy(struct shape *out, const struct shape *from) {
	for (int i = 0; i < from->n; i++)
		if (!shape_add(out, from->names[i], strlen(from->names[i])))
			return false;
	return true;
}

int shape_find(const struct shape *shape, const char *name, size_t len) {
	for (int i = 0; i < shape->n; i++)
		if (strlen(shape->names[i]) == len && memcmp(shape->names[i], name, len) == 0)
			return i;
	return -1;
}

bool shape_equal(const struct shape *a, const struct shape *b) {
	if (a->n != b->n)
		return false;
	for (int i = 0; i < a->n; i++)
		if (strcmp(a->names[i], b->names[i]) != 0)
			return false;
	return true;
}

static int compare_names(const void *a, const void *b) {
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void shape_sort(struct shape *shape) {
	if (shape->n > 1)
		qsort(shape->names, (size_t)shape->n, sizeof(*shape->names), compare_names);
}

/* -- objects ----------------------------------------------------------------------------------- */

/* False, and the sentence, if a name stands twice. */
static bool check_twice(struct json_scan *s, const struct shape *names) {
	AUTO_FREE char **copy = calloc((size_t)names->n + 1, sizeof(*copy));
	struct shape sorted = { .names = copy, .n = names->n };
	if (copy == NULL)
		return json_fail(s, "out of memory");
	for (int i = 0; i < names->n; i++)
		copy[i] = names->names[i];
	shape_sort(&sorted);
	for (int i = 1; i < sorted.n; i++) {
		if (strcmp(copy[i - 1], copy[i]) != 0)
			continue;
		buf_printf(s->why, "the key \"%s\" stands twice in the object that ends at ",
			   copy[i]);
		json_put_position(s->why, s->start, s->p);
		return false;
	}
	return true;
}

void json_spans_free(struct json_spans *spans) {
	free(spans->items);
	*spans = (struct json_spans){ 0 };
}

void json_put_quoted(struct buf *out, const char *json, size_t at, size_t len,
		     const struct json_spans *spans) {
	for (int i = 0; i < spans->n; i++) {
		const struct json_span *span = &spans->items[i];
		buf_add(out, json + at, span->at - at);
		buf_json_string(out, json + span->at, span->len);
		len -= span->at + span->len - at;
		at = span->at + span->len;
	}
	buf_add(out, json + at, len);
}

/* The object whose members are scanned. */
struct object_scan {
	struct shape *names;
	const struct json_members *members; /* NULL: all are values */
	struct json_spans *spans;
};

static bool scan_object(struct json_scan *s, const struct object_scan *object);

/* Any value, of which nothing is wanted. */
static bool skip(struct json_scan *s, struct buf *name, void *arg) {
	AUTO_SHAPE struct shape ignored = { 0 };
	const struct object_scan object = { .names = &ignored };
	return *s->p == '{'   ? scan_object(s, &object)
	       : *s->p == '[' ? json_children(s, skip, arg)
			      : json_scalar(s);
}

static bool skip_child(struct json_scan *s, struct buf *name, void *arg) {
	return *s->p == '{' || *s->p == '[' ? json_children(s, skip_child, arg) : json_scalar(s);
}

/* The same of a value that is kept as it is written: a key may stand twice. */
static bool skip_stored(struct json_scan *s, struct buf *name, void *arg) {
	s->stored = true;
	bool good = skip_child(s, name, arg);
	s->stored = false;
	return good;
}

/* ARG: the object. */
static bool scan_member(struct json_scan *s, struct buf *name, void *arg) {
	const struct object_scan *object = arg;
	const struct json_members *members = object->members;
	enum json_member what =
		members != NULL ? members->what(members->arg, name->data) : MEMBER_VALUE;
	struct json_span span = { .at = (size_t)(s->p - s->start) };
	bool null = *s->p == 'n';
	if (!add_taken(object->names, buf_take(name)))
		return json_fail(s, "out of memory");
	if (!(what == MEMBER_STORED ? skip_stored : skip)(s, NULL, NULL))
		return false;
	span.len = (size_t)(s->p - s->start) - span.at;
	if (what == MEMBER_VALUE || null)
		return true;
	if (!list_room(object->spans->items, object->spans->n))
		return json_fail(s, "out of memory");
	object->spans->items[object->spans->n++] = span;
	return true;
}

static bool scan_object(struct json_scan *s, const struct object_scan *object) {
	return json_children(s, scan_member, (void *)(uintptr_t)object) &&
	       check_twice(s, object->names);
}

int json_check(const char *json, size_t len, struct buf *why) {
	return json_document(json, len, skip, NULL, why);
}

int json_check_stored(const char *json, size_t len, struct buf *why) {
	return json_document(json, len, skip_stored, NULL, why);
}

static bool scan_shape(struct json_scan *s, struct buf *name, void *arg) {
	return *s->p == '{' ? scan_object(s, arg) : skip(s, name, NULL);
}

int shape_scan(const char *json, size_t len, struct shape *out, struct buf *why) {
	return shape_scan_members(json, len, NULL, out, NULL, why);
}

int shape_scan_members(const char *json, size_t len, const struct json_members *members,
		       struct shape *out, struct json_spans *spans, struct buf *why) {
	const char *p = json, *end = json + len;
	struct object_scan object = { .names = out, .members = members, .spans = spans };
	*out = (struct shape){ 0 };
	json_skip_space(&p, end);
	if (p == end)
		return buf_refuse(why, "empty: a JSON object was expected");
	int rc = json_document(json, len, scan_shape, &object, why);
	if (rc == 0 && *p != '{') {
		buf_puts(why, "a JSON object was expected, not another kind of value");
		rc = -EINVAL;
	}
	if (rc != 0)
		shape_free(out);
	return rc;
}

/* -- documents of many objects ----------------------------------------------------------------- */

struct elements_scan {
	struct elements *all;
	const struct json_members *members;
	const char *watched;
	struct shape names; /* of the outer object */
	struct element *now;
};

void elements_free(struct elements *elements) {
	for (int i = 0; i < elements->n; i++) {
		free(elements->items[i].name);
		shape_free(&elements->items[i].shape);
		json_spans_free(&elements->items[i].spans);
	}
	free(elements->items);
	*elements = (struct elements){ 0 };
}

/* The value of a key of an element. */
static bool scan_value(struct json_scan *s, struct buf *name, void *arg) {
	const struct elements_scan *scan = arg;
	struct element *e = scan->now;
	struct object_scan object = { &e->shape, scan->members, &e->spans };
	size_t at = (size_t)(s->p - s->start);
	bool watched = scan->watched != NULL && strcmp(name->data, scan->watched) == 0;
	if (!scan_member(s, name, &object))
		return false;
	if (watched) {
		e->watched_at = at;
		e->watched_len = (size_t)(s->p - s->start) - at;
	}
	return true;
}

static bool scan_element(struct json_scan *s, struct buf *name, void *arg) {
	struct elements_scan *scan = arg;
	if (*s->p != '{')
		return json_fail(s, "each row must be an object");
	if (!list_room(scan->all->items, scan->all->n) ||
	    (name != NULL && !shape_add(&scan->names, name->data, name->len)))
		return json_fail(s, "out of memory");
	struct element *e = scan->now = &scan->all->items[scan->all->n++];
	*e = (struct element){ 0 };
	if (name != NULL && (e->name = buf_take(name)) == NULL)
		return json_fail(s, "out of memory");
	e->at = (size_t)(s->p - s->start);
	if (!json_children(s, scan_value, scan) || !check_twice(s, &e->shape))
		return false;
	e->len = (size_t)(s->p - s->start) - e->at;
	return true;
}

static bool scan_elements(struct json_scan *s, struct buf *name, void *arg) {
	struct elements_scan *scan = arg;
	return json_children(s, scan_element, scan) && check_twice(s, &scan->names);
}

int elements_scan(const char *json, size_t len, bool object, const struct json_members *members,
		  const char *watched, struct elements *out, struct buf *why) {
	struct elements_scan scan = { .all = out, .members = members, .watched = watched };
	const char *p = json, *end = json + len;
	int rc = -EINVAL;
	*out = (struct elements){ 0 };
	json_skip_space(&p, end);
	if (p < end && *p == (object ? '{' : '['))
		rc = json_document(json, len, scan_elements, &scan, why);
	else
		buf_printf(why, "%sa JSON %s of objects was expected", p == end ? "empty: " : "",
			   object ? "object" : "array");
	shape_free(&scan.names);
	if (rc != 0)
		elements_free(out);
	return rc;
}

bool json_is_text(const char *json, size_t len, const char *name) {
	AUTO_BUF struct buf text = { 0 }, ignored = { 0 };
	struct json_scan s = { .start = json, .p = json, .end = json + len, .why = &ignored };
	buf_puts(&text, "");
	if (len == 0 || json[0] == '{' || json[0] == '[' || json[0] == 'n')
		return false;
	if (json[0] != '"')
		return strlen(name) == len && memcmp(json, name, len) == 0;
	return json_string(&s, &text) && strcmp(text.data, name) == 0;
}
