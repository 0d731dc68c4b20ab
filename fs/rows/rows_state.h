/* What is asked of the state of an open rows file; the table of it is in rows_whole.c. */
#ifndef ROWFS_FS_ROWS_ROWS_STATE_H
#define ROWFS_FS_ROWS_ROWS_STATE_H

#include "fs/rows/rows_file.h"

/* True if H has cut the file to nothing, and that is not committed. */
static inline bool rows_is_anew(const struct handle *h) {
	const struct rows_file *f = rows_of(h);
	return f->rows == ROWS_EMPTIED || f->rows == ROWS_ANEW;
}

/* True if H's data is the whole file, to be committed as a replacement. */
static inline bool rows_is_whole(const struct handle *h) {
	const struct rows_file *f = rows_of(h);
	return f->rows != ROWS_LINES;
}

#endif
