/* Reading rows files. */
#pragma once

#include "fs/core/call.h"
#include "fs/open/handle.h"

/* Appends up to SIZE bytes of H's file, from OFFSET on, to OUT; fewer only at the end. H's lock is
 * held. Returns 0 or -errno. */
MUST_USE int rows_read(struct call *call, struct handle *h, size_t size, uint64_t offset,
		       struct buf *out);

/* The same for a page of the kernel's memory, which maps of the file show: with one transcript for
 * all of them, made with the first page. */
MUST_USE int rows_read_page(struct call *call, struct handle *h, size_t size, uint64_t offset,
			    struct buf *out);

/* What H reads next is the file as it is then. */
void rows_read_anew(struct handle *h);

/* As kind->synced and kind->pass. */
void rows_synced(struct fs *fs, struct handle *h);
MUST_USE int rows_pass(struct call *call, struct handle *h, struct passing *out);
