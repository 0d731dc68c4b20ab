/* What the kind of rows files does: see kind.h. */
#pragma once

#include "fs/rows/rows_file.h"

#include <string.h>

/* Bytes of the header that H's file begins with; 0: none. */
static inline uint64_t rows_header_length(const struct handle *h) {
	const char *header = h->node->place->sql.header;
	return header != NULL ? strlen(header) : 0;
}

/* rows_open.c */
MUST_USE int rows_open(struct call *call, struct handle *h);
void rows_close(struct fs *fs, struct handle *h);
const struct buf *rows_unsent(const struct handle *h);
uint64_t rows_held(struct handle *h);

/* rows_take.c */
MUST_USE int rows_write(struct call *call, struct handle *h, const char *data, size_t size,
			uint64_t offset);

/* rows_sync.c */
MUST_USE int rows_sync(struct call *call, struct handle *h, enum sync_reason reason);
MUST_USE int rows_unlocking(struct call *call, struct handle *h);
