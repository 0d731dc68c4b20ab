/* Reading rows files. */
#ifndef ROWFS_FS_ROWS_READ_H
#define ROWFS_FS_ROWS_READ_H

#include "fs/call.h"
#include "fs/handle.h"

/* Appends up to SIZE bytes of H's file, from OFFSET on, to OUT; fewer only at the end. H's lock is held. Returns 0 or -errno. */
MUST_USE int rows_read(struct call *call, struct handle *h, size_t size, uint64_t offset,
		       struct buf *out);

/* Frees what a handle's reads have left. NULL is fine. */
void rows_reader_free(struct rows_reader *reader);

#endif
