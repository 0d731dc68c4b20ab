/* The one scanner of JSON: strict (RFC 8259), without converting anything, so that numbers of any
 * length pass. It tells line and column of what is wrong. A caller goes through a document by
 * visiting the children of each array and object that it wants something of. Pure; a scanner
 * belongs to one thread at a time. */
#pragma once

#include "util/buf.h"

struct json_scan {
	const char *start, *p, *end; /* p: what comes next */
	struct buf *why;             /* where the sentence goes */
	int depth;                   /* arrays and objects that p is in */
	/* Strings are kept as they are written: \u0000 and half a surrogate pair pass. Names are
	 * not decoded. */
	bool stored;
};

/* Scans the value at s->p, and moves s->p behind it. NAME is its key in an object, decoded, whose
 * bytes may be taken; NULL in an array. False ends the scan: then json_fail() has told why. */
typedef bool json_visit(struct json_scan *s, struct buf *name, void *arg);

/* The LEN bytes of TEXT are one value, which VISIT scans, and nothing behind it. Returns 0, or
 * -EINVAL with a sentence appended to WHY. */
MUST_USE int json_document(const char *text, size_t len, json_visit *visit, void *arg,
			   struct buf *why);

/* The array or object at s->p: calls VISIT at each value in it. */
MUST_USE bool json_children(struct json_scan *s, json_visit *visit, void *arg);
/* The string at s->p; decoded to the end of OUT if that is not NULL. */
MUST_USE bool json_string(struct json_scan *s, struct buf *out);
/* Any other value at s->p that has no children. */
MUST_USE bool json_scalar(struct json_scan *s);

/* Tells what is wrong at s->p. Always false. */
bool json_fail(struct json_scan *s, const char *what);
/* Appends the line and the column of AT. */
void json_put_position(struct buf *out, const char *start, const char *at);
/* Moves *P behind white space. */
void json_skip_space(const char **p, const char *end);

/* Bytes that no text column takes: a sentence for the first NUL or invalid UTF-8 in WHY. Returns 0
 * or -EINVAL. */
MUST_USE int text_check(const char *data, size_t len, struct buf *why);
