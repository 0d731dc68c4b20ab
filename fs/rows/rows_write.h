/* Appended lines to rows: from what an open file has, by the clock, or when it is full. */
#pragma once

#include "fs/core/call.h"
#include "fs/rows/rows_file.h"
#include "util/text/record.h"

/* Commits the records at the start of H's data, written to the file W; MORE says what is known of
 * the bytes behind. Takes them out of H's data. Lines that are refused cost only themselves: they
 * go to rejected/, the others are committed, and the first refusal's -errno is noted in H's
 * bad_line. Returns 0, or -errno of any other failure (database away): then what was not committed
 * is kept in rejected/. */
MUST_USE int rows_commit(struct call *call, struct handle *h, const struct where *w,
			 enum record_more more);

/* By the clock: commits the whole lines of each open file that wait since BEFORE_US or longer, as a
 * write that fills a batch does. Where a request works on it, nothing is done this time. */
void rows_flush(struct fs *fs, int64_t before_us);

/* Commits H's own whole lines; H's lock is held. Errors of lines and of the database are noted in
 * H's deferred. Returns 0 or -ENOMEM. */
MUST_USE int rows_commit_lines(struct call *call, struct handle *h);
