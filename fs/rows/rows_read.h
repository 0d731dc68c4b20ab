/* Reading rows files. */
#ifndef ROWFS_FS_ROWS_ROWS_READ_H
#define ROWFS_FS_ROWS_ROWS_READ_H

#include "fs/core/call.h"
#include "fs/open/handle.h"

/* Appends up to SIZE bytes of H's file, from OFFSET on, to OUT; fewer only at the end. H's lock is
 * held. Returns 0 or -errno. */
MUST_USE int rows_read(struct call *call, struct handle *h, size_t size, uint64_t offset,
		       struct buf *out);

/* A reader of PLACE's file that stands where the lines that READER has read end, and is used under
 * OWNER. NULL if out of memory. */
struct rows_reader *rows_reader_fork(struct rows_reader *reader, const struct place *place,
				     pthread_mutex_t *owner);

/* Appends about WANT bytes of the file W, NODE, from OFFSET on to OUT: READER stands there, or has
 * read on behind. Fewer only at the end. Its owner is held. Returns 0 or -errno. */
MUST_USE int rows_reader_on(struct call *call, struct rows_reader *reader, const struct where *w,
			    const struct node *node, uint64_t offset, size_t want, struct buf *out);

/* Frees what a handle's reads have left. NULL is fine. */
void rows_reader_free(struct rows_reader *reader);

#endif
