/* Between rows.c (the kind: what open, write and close mean) and rows_write.c (lines to rows). */
#ifndef ROWFS_FS_ROWS_H
#define ROWFS_FS_ROWS_H

#include "fs/call.h"
#include "fs/handle.h"

/* Commits the lines at the start of H->data, written to the file W, that are complete, and with LAST the incomplete one, too; takes them out of
 * H->data. Lines that are refused cost only themselves: they go to rejected/, the others are committed, and the first refusal's -errno
 * is returned. Any other failure (database away): what was not committed is kept in rejected/. */
MUST_USE int rows_commit(struct call *call, struct handle *h, const struct where *w, bool last);

/* By the clock: commits the whole lines of H that wait, as a write that fills a batch does. For handles_flush(). If a request works on
 * H, nothing is done this time. */
void rows_flush(struct fs *fs, struct handle *h);

/* Makes H->data the whole content of the file W, in one transaction. Where H->was is the text that it was made of, only lines that differ
 * count: rows of other lines are left alone, also those that came since. If it is refused, nothing changes, and it is kept in
 * rejected/. */
MUST_USE int rows_replace(struct call *call, struct handle *h, const struct where *w);

/* True if the bytes behind the last newline in H->data are a whole line all the same. */
bool rows_tail_is_whole(const struct handle *h, const struct place *place);

#endif
