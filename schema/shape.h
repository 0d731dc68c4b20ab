/* The shape of a JSON document, without its values: is it an object, which keys has it. A strict scanner (RFC 8259) that
 * converts nothing, so that numbers of any length pass; it also refuses what PostgreSQL would silently settle (duplicate
 * keys) and tells line and column. Pure; thread-safe. */
#ifndef ROWFS_SCHEMA_SHAPE_H
#define ROWFS_SCHEMA_SHAPE_H

#include "schema/sql.h"

struct shape {
	char **names; /* keys of the top-level object, decoded; owned */
	int n;
};

/* Puts the names in order, so that shape_equal() finds the same keys in another order equal. */
void shape_sort(struct shape *shape);

#define AUTO_SHAPE __attribute__((cleanup(shape_free)))

void shape_free(struct shape *shape);

/* Scans the LEN bytes of an object into OUT. Returns 0, or -EINVAL with a sentence appended to WHY. */
MUST_USE int shape_scan(const char *json, size_t len, struct shape *out, struct buf *why);

/* Scans any JSON value. Returns 0, or -EINVAL with a sentence appended to WHY. */
MUST_USE int json_check(const char *json, size_t len, struct buf *why);

/* The same keys in the same order? */
bool shape_equal(const struct shape *a, const struct shape *b);

/* As sql.h wants it; borrowed from SHAPE. */
struct document_shape shape_document(const struct shape *shape);

/* Bytes that no text column takes: a sentence for the first NUL or invalid UTF-8 in WHY. Returns 0 or -EINVAL. */
MUST_USE int text_check(const char *data, size_t len, struct buf *why);

#endif
