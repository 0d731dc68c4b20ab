/* Copying one file onto the mount. */
#ifndef ROWFS_IMPORT_COPY_H
#define ROWFS_IMPORT_COPY_H

#include "import/import.h"
#include "util/rows_ioctl.h"

/* Copies the item. When it returns 0 the mount has acknowledged it, and the journal says so.
 * Otherwise -errno, with a sentence in WHY; -ECANCELED if it was stopped. */
MUST_USE int copy_item(struct import *im, struct item *item, struct buf *why);

/* For the parts of it. Opens the item on the mount for writing, making directories above it.
 * Returns the descriptor or -errno. */
MUST_USE int copy_open(const struct import *im, const struct item *item, int flags);
/* Writes all. Returns 0 or -errno. */
MUST_USE int copy_write(int fd, const char *data, size_t len);
/* Asks the mount for the rows of the ingest file. Returns 0 or -errno. */
MUST_USE int copy_ask_rows(const struct import *im, const struct item *item,
			   struct rowfs_rows *out);

#endif
