/* The shape of a JSON document, without its values: is it an object, which keys has it. What
 * PostgreSQL would silently settle (duplicate keys) is refused. Pure; thread-safe. */
#pragma once

#include "util/text/json.h"

#include <string.h>

struct shape {
	char **names; /* keys of the top-level object, decoded; owned */
	int n;
};

/* Adds a name. Returns false without memory. */
MUST_USE bool shape_add(struct shape *shape, const char *name, size_t len);
/* Adds the names of FROM. Returns false without memory. */
MUST_USE bool shape_copy(struct shape *out, const struct shape *from);
/* Which name it is; -1: none. */
int shape_find(const struct shape *shape, const char *name, size_t len);
/* True if it is one. */
static inline bool shape_has(const struct shape *shape, const char *name) {
	return shape_find(shape, name, strlen(name)) >= 0;
}

/* Puts the names in order, so that shape_equal() finds the same keys in another order equal. */
void shape_sort(struct shape *shape);

#define AUTO_SHAPE __attribute__((cleanup(shape_free)))

void shape_free(struct shape *shape);

/* Scans the LEN bytes of an object into OUT. Returns 0, or -EINVAL with a sentence appended to
 * WHY. */
MUST_USE int shape_scan(const char *json, size_t len, struct shape *out, struct buf *why);

/* What the value of a member of an object is to its reader. */
enum json_member {
	MEMBER_VALUE,  /* a value */
	MEMBER_JSON,   /* a JSON text, to be quoted */
	MEMBER_STORED, /* the same, kept as it is written, and so with keys that stand twice */
};
struct json_members {
	enum json_member (*what)(const void *arg, const char *name);
	const void *arg;
};

/* The values to be quoted: where they are in the text. */
struct json_spans {
	struct json_span {
		size_t at, len;
	} * items; /* owned */
	int n;
};

#define AUTO_SPANS __attribute__((cleanup(json_spans_free)))

void json_spans_free(struct json_spans *spans);

/* As shape_scan(); SPANS gets the values that MEMBERS calls JSON, but not null. */
MUST_USE int shape_scan_members(const char *json, size_t len, const struct json_members *members,
				struct shape *out, struct json_spans *spans, struct buf *why);

/* Appends the LEN bytes of JSON from AT on, with those of SPANS as strings: {"a": "[1, \"b\"]"}. */
void json_put_quoted(struct buf *out, const char *json, size_t at, size_t len,
		     const struct json_spans *spans);

/* A part of a document of many objects. */
struct element {
	char *name;     /* its key in the outer object, decoded; NULL in an array; owned */
	size_t at, len; /* the object's own text, from { to } */
	struct shape shape;
	struct json_spans spans; /* in the whole text */
	size_t watched_at,
		watched_len; /* text of the value of the key that was watched for; 0: it has none */
};

struct elements {
	struct element *items;
	int n;
};

#define AUTO_ELEMENTS __attribute__((cleanup(elements_free)))

void elements_free(struct elements *elements);

/* Scans an array of objects or, with OBJECT, an object of objects, into OUT; MEMBERS are those of
 * the objects. WATCHED (may be NULL) is a key whose values are to be found. Returns 0, or -EINVAL
 * with a sentence appended to WHY. */
MUST_USE int elements_scan(const char *json, size_t len, bool object,
			   const struct json_members *members, const char *watched,
			   struct elements *out, struct buf *why);

/* True if the LEN bytes of a JSON value are a string or a number, true or false with the text
 * NAME. */
bool json_is_text(const char *json, size_t len, const char *name);

/* Scans any JSON value. Returns 0, or -EINVAL with a sentence appended to WHY. json_check_stored():
 * one that is kept as it is written, and so may have keys that stand twice. */
MUST_USE int json_check(const char *json, size_t len, struct buf *why);
MUST_USE int json_check_stored(const char *json, size_t len, struct buf *why);

/* The same keys in the same order? */
bool shape_equal(const struct shape *a, const struct shape *b);
