/* What the bytes of an open rows file are, and how they turn into something else. One table says it
 * for all of rows*.c. */
#ifndef ROWFS_FS_ROWS_ROWS_STATE_H
#define ROWFS_FS_ROWS_ROWS_STATE_H

#include "fs/rows/rows_file.h"

enum rows_event {
	ROWS_CUT_TO_NOTHING, /* O_TRUNC, ftruncate(0) */
	ROWS_LOADED,         /* a change in the middle begins: the file's text is here */
	ROWS_CHANGED,        /* a write, or a cut to another length */
	ROWS_COMMITTED,
	ROWS_REFUSED, /* by fsync, or by the close of a descriptor: the text is not committed */
	ROWS_DROPPED, /* it is in rejected/, and not here any more */
	ROWS_EVENTS
};

/* Row: what they are; column: what happens. A text that was written from nothing is gone when it
 * was committed or refused. One that was edited stays: if it was refused, more of the edit may come
 * and make it good; if it was committed, the program's offsets go on to mean its own text, while
 * the rows may be shown in another order. */
static const uint8_t rows_next[ROWS_STATES][ROWS_EVENTS] = {
	/*                cut to nothing  loaded       changed      committed   refused
	 *                                dropped */
	[ROWS_LINES] = { ROWS_EMPTIED, ROWS_EDITED, ROWS_LINES, ROWS_LINES, ROWS_LINES,
			 ROWS_LINES },
	[ROWS_EMPTIED] = { ROWS_EMPTIED, ROWS_EMPTIED, ROWS_ANEW, ROWS_LINES, ROWS_LINES,
			   ROWS_LINES },
	[ROWS_ANEW] = { ROWS_EMPTIED, ROWS_ANEW, ROWS_ANEW, ROWS_LINES, ROWS_LINES, ROWS_LINES },
	[ROWS_EDITED] = { ROWS_EMPTIED, ROWS_EDITED, ROWS_EDITED, ROWS_EDITED, ROWS_EDITED,
			  ROWS_LINES },
};

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
