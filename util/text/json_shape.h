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

/* A part of a document of many objects. */
struct element {
	char *name;     /* its key in the outer object, decoded; NULL in an array; owned */
	size_t at, len; /* the object's own text, from { to } */
	struct shape shape;
	size_t watched_at,
		watched_len; /* text of the value of the key that was watched for; 0: it has none */
};

struct elements {
	struct element *items;
	int n;
};

#define AUTO_ELEMENTS __attribute__((cleanup(elements_free)))

void elements_free(struct elements *elements);

/* Scans an array of objects or, with OBJECT, an object of objects, into OUT. WATCHED (may be NULL)
 * is a key whose values are to be found. Returns 0, or -EINVAL with a sentence appended to WHY. */
MUST_USE int elements_scan(const char *json, size_t len, bool object, const char *watched,
			   struct elements *out, struct buf *why);

/* True if the LEN bytes of a JSON value are a string or a number, true or false with the text
 * NAME. */
bool json_is_text(const char *json, size_t len, const char *name);

/* Scans any JSON value. Returns 0, or -EINVAL with a sentence appended to WHY. */
MUST_USE int json_check(const char *json, size_t len, struct buf *why);

/* The same keys in the same order? */
bool shape_equal(const struct shape *a, const struct shape *b);
