/* JSON as text: a tree whose numbers stay digits, for comparing documents. Nothing passes through a
 * floating-point number. Pure; a tree has one owner. */
#pragma once

#include "util/buf.h"

enum json_type { JSON_SCALAR, JSON_ARRAY, JSON_OBJECT };

struct json {
	enum json_type type;
	char *key;             /* as a member of an object: its decoded name; otherwise NULL */
	char *text;            /* JSON_SCALAR: its canonical text; strings begin with a quote */
	struct json *children; /* objects: sorted by key */
	int n;
};

#define AUTO_TREE __attribute__((cleanup(json_free)))

/* Reads one value and white space around it. Returns false if the LEN bytes are anything else, or
 * there is no memory; OUT is to be freed in any case. */
MUST_USE bool json_read(const char *text, size_t len, struct json *out);
void json_free(struct json *json);

/* The member called KEY, or NULL. Borrowed. */
const struct json *json_member(const struct json *object, const char *key);

/* Appends the value in one form for all texts that mean it: keys sorted, no white space, numbers in
 * one spelling, times with a zone in one spelling. */
void json_canonical(struct buf *out, const struct json *json);

/* True if both mean the same. With COVERS, objects down to that depth may have more keys in NEWER
 * than in OLDER. */
MUST_USE bool json_same(const struct json *older, const struct json *newer, int covers);

/* Appends a scalar's text in one spelling: numbers without needless zeros, signs and exponents,
 * times with a zone as "2025-01-31 12:00:00.5Z"; anything else as it is. */
void scalar_canonical(struct buf *out, const char *text, size_t len);

/* Appends a time with the zone UTC in that spelling; returns false, and appends nothing, if TEXT is
 * none. */
bool time_canonical(struct buf *out, const char *text, size_t len);
