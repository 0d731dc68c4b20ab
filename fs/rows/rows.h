/* Between rows.c (the kind: what open, write and close mean) and rows_write.c (lines to rows). */
#ifndef ROWFS_FS_ROWS_ROWS_H
#define ROWFS_FS_ROWS_ROWS_H

#include "fs/core/call.h"
#include "fs/rows/rows_file.h"
#include "util/text/record.h"

extern const struct kind rows_kind;

/* Commits the records at the start of H's data, written to the file W; MORE says what is known of
 * the bytes behind. Takes them out of H's data. Lines that are refused cost only themselves: they
 * go to rejected/, the others are committed, and the first refusal's -errno is noted in H's
 * bad_line. Returns 0, or -errno of any other failure (database away): then what was not committed
 * is kept in rejected/. */
MUST_USE int rows_commit(struct call *call, struct handle *h, const struct where *w,
			 enum record_more more);

/* The number of the line in which a quoted field began that is not closed in what H's data keeps;
 * 0: there is none. */
uint64_t rows_open_line(const struct handle *h);

/* Drops what H's data has, the piece of a record: what is written next begins one. */
void rows_drop_rest(struct handle *h);

/* What is written next are the first bytes of a text: it may have a header. */
void lines_reader_free(struct handle *h);

/* By the clock: commits the whole lines of H that wait, as a write that fills a batch does. For
 * handles_flush(). If a request works on H, nothing is done this time. */
void rows_flush(struct fs *fs, struct handle *h);

/* Makes the records of H's data the whole content of the file W, in one transaction; *TAKEN is how
 * many bytes they are. With LAST that is all of it; else the piece of a record behind the last one
 * is left out. Where H's was is the text that it was made of, only lines that differ count: rows of
 * other lines are left alone, also those that came since. If it is refused, nothing changes, and
 * all of it is kept in rejected/. If a quoted field is open (rows_open_line()) nothing is done, and
 * 0 returned: the rest has to come first. H's data stays as it is. The rows of FROM, another file
 * that has these lines, go in the same transaction; NULL: none. */
MUST_USE int rows_replace(struct call *call, struct handle *h, const struct where *w,
			  const struct where *from, bool last, size_t *taken);

/* NODE, which its process has made, is about to be renamed onto another file: commits what was
 * written to it, and has its open handles given (see handle.h). False if something of it waits,
 * such as a piece of a line: then nothing is given. */
bool rows_give(struct call *call, const struct node *node);
/* It was not renamed after all. */
void rows_give_not(struct call *call, const struct node *node);

/* Keeps each line of TEXT, written to the file W behind LINES others, in rejected/, for the reason
 * RC and CALL's error. Returns how many lines there are then. */
uint64_t rows_reject_lines(struct call *call, const struct where *w, const struct buf *text,
			   uint64_t lines, int rc);

/* True if the bytes behind the last newline in H's data are a whole line all the same. */
bool rows_tail_is_whole(const struct handle *h, const struct place *place);

#endif
