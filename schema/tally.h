/* What lines add to the summary of rows files: so many rows and bytes for each file (slice and keys). */
#ifndef ROWFS_SCHEMA_TALLY_H
#define ROWFS_SCHEMA_TALLY_H

#include "schema/line.h"
#include "schema/slice.h"

struct tally_item {
	const struct slice *slice;
	char *keys[SLICE_KEYS]; /* texts; owned */
	int64_t rows, bytes;
};

struct tally {
	struct tally_item *items;
	int n, last; /* last: where the line before was counted */
};

void tally_free(struct tally *t);
/* Adds OTHER to T. Returns false if out of memory. */
MUST_USE bool tally_add(struct tally *t, const struct tally *other);
/* Adds ROWS and BYTES for one file. */
MUST_USE bool tally_count(struct tally *t, const struct slice *slice, const char *const *keys,
			  int64_t rows, int64_t bytes);
void tally_clear(struct tally *t);

#endif
