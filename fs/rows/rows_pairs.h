/* Lines that do not show the key of their rows: what a file says when it is written anew, or was
 * changed in its middle, is brought to the rows that are there. The objects of a table document are
 * lines, too.
 *
 * In one transaction, the old rows are read in the order of the file, with their keys and a lock.
 * pairing.h says which of them each line gets. Rows of equal lines are not touched. The others are
 * updated by their keys, as far as the lines show them; rows without a line are deleted; lines
 * without a row are inserted. That is one statement of each kind for all lines that have the same
 * columns. So a row keeps its key, what the file does not show, and what refers to it. */
#pragma once

#include "fs/rows/rows_text.h"

/* What is to be brought to the rows. */
struct pairs {
	const struct input *in;
	const struct rows_text *text;
	/* What the text was made of: only what differs from it counts, and rows of other
	 * lines are not looked at. NULL: the text is all. */
	const struct rows_text *was;
	/* An array of the lines that show their key, which are written by it; NULL: there
	 * are none. */
	const struct buf *keyed;
	bool all;    /* the lines are not paired with rows: they say which rows stay, or none do */
	int written; /* rows that were inserted or updated */
};

/* True if the lines of a file at PLACE can be brought to its rows. EDITED: the text is made
 * of another one. */
bool pairs_can(const struct place *place, bool edited);

/* Does it, in the transaction on CONN; may be called again. Returns 0 or -errno: EBUSY if
 * somebody else has changed a row whose line differs. */
MUST_USE int pairs_run(struct db_conn *conn, struct pairs *p, struct db_error *err);
