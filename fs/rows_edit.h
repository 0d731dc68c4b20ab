/* The lines of a rows file as they were before an edit: which of them are still there, and which are gone. A line that is still there, byte by
 * byte, is not touched: its row keeps its key, its columns that the file does not show, and what refers to it. */
#ifndef ROWFS_FS_ROWS_EDIT_H
#define ROWFS_FS_ROWS_EDIT_H

#include "fs/rows_lines.h"

struct old_line {
	const char *text; /* borrowed from the old text */
	size_t len;
	size_t kept; /* of the first of equal lines: how many of them are still there */
};

/* In the order of their bytes. One owner at a time. */
struct old_lines {
	struct old_line *all; /* owned */
	size_t n;
};

#define AUTO_OLD_LINES __attribute__((cleanup(old_lines_free)))

/* Length of the first record of DATA, with its newline, if each quote in it is closed (there is nothing to judge: schema/record.h does that
 * for what programs write). */
size_t rows_record_length(bool csv, const char *data, size_t len);

/* The lines of WAS, a text with the columns that PLACE's files show; it must outlive OUT. Returns 0 or -ENOMEM. */
MUST_USE int old_lines_take(struct old_lines *out, const struct place *place,
			    const struct buf *was);
void old_lines_free(struct old_lines *old);

/* True if LINE of IN is still as it was, and not counted as that before. Lines under a header of other columns are not. */
bool old_lines_keep(struct old_lines *old, const struct input *in, const struct line *line);

/* Appends the lines that are gone to OUT, each with a newline. Returns how many there are. */
int old_lines_gone(const struct old_lines *old, struct buf *out);

/* True if the fields of the lines that were taken from H are the columns that PLACE's files show, in their order. */
bool rows_columns_as_shown(const struct handle *h, const struct place *place);

#endif
