/* An open rows file whose whole text the handle has: written from nothing, or loaded to be changed
 * in its middle. Reads and writes go to that text; fsync or close makes the rows what it says, in
 * one transaction. See rows_whole.c for when. H's lock is held in all of them. */
#pragma once

#include "fs/core/call.h"
#include "fs/open/handle.h"
#include "util/text/record.h"

/* Loads the file's text: H's own lines are committed first, and half a line that waits for its rest
 * is put behind it. Returns 0 or -errno, -EFBIG among them; then nothing has changed but that. */
MUST_USE int rows_whole_load(struct call *call, struct handle *h);

MUST_USE int rows_whole_read(const struct handle *h, size_t size, uint64_t offset, struct buf *out);
MUST_USE int rows_whole_write(struct call *call, struct handle *h, const char *data, size_t size,
			      uint64_t offset);
MUST_USE int rows_whole_truncate(struct call *call, struct handle *h, uint64_t size);

/* Commits the text of H, which is of the file W: all of it if MORE is RECORD_END, else its whole
 * records. With LAST it will not be changed any more. Returns 0 or -errno: the text is in rejected/
 * then. While a quoted field is open (rows_open_line()) nothing is done. */
MUST_USE int rows_whole_commit(struct call *call, struct handle *h, const struct where *w,
			       enum record_more more, bool last);
/* Another program is about to write to H's file, or to another one of its table. If H has cut its
 * file to nothing, and that is not committed, it is noted which rows are there now: only these are
 * replaced when it is. Returns 0 or -errno. */
MUST_USE int rows_whole_meet(struct call *call, struct handle *h);
/* False if no open file BUT this one has an anew_of. No lock is needed. */
bool rows_whole_any(const struct handle *but);
/* H is being freed. */
void rows_whole_free(struct handle *h);

/* The handle has lines again: the first TAKEN bytes of its text were committed, or are dropped.
 * Behind them is a piece of a line that is to be appended. */
void rows_whole_end(struct handle *h, size_t taken);
