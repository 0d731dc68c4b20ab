/* The statements of a stream of lines: COPY and INSERT into some columns of a table, and the
 * ledger.
 *
 * The ledger (rowfs.stream) says which batch of a stream was committed last. A batch moves it in
 * its own transaction and only from the number before, so that it cannot be committed twice; who
 * has lost the connection at COMMIT asks FOR UPDATE, which waits for a commit that is still under
 * way. */
#ifndef ROWFS_SCHEMA_STATE_STREAM_H
#define ROWFS_SCHEMA_STATE_STREAM_H

#include "schema/layout/catalog.h"

struct stream_sql {
	char *copy; /* COPY rel (columns) FROM STDIN (FORMAT csv) */
	/* Few lines in one statement, with the ledger. Parameters: STREAM_LEDGER_PARAMS, with
	 * `counted` the tally's, then an array of texts for each column. See stream_was_moved(). */
	struct db_statement insert, insert_counted;
	struct db_statement insert_bare; /* without a ledger: the columns' arrays only */
};

enum { STREAM_LEDGER_PARAMS = 3 }; /* stream, its new number, its number before */

/* The statements for COLUMNS (N of them) of REL. Returns false if out of memory. Free with
 * stream_sql_free(). */
MUST_USE bool stream_sql_make(const struct relation *rel, const struct column *const *columns,
			      int n, struct stream_sql *out);
void stream_sql_free(struct stream_sql *sql);

/* RES is what `insert` or `insert_counted` gave for N lines. True if the ledger was moved, and with
 * it everything is committed, however many rows the table's triggers made of the lines. False if it
 * stood elsewhere, and nothing was done; or if rows are missing for a cause that the catalog did
 * not tell of at mount: then the ledger is to be asked. */
MUST_USE bool stream_was_moved(const PGresult *res, int n);

/* Makes the stream $1. Repeatable. */
extern const char stream_open_sql[];
/* Moves it: STREAM_LEDGER_PARAMS. One row changed, or somebody else did. */
extern const char stream_move_sql[];
/* The number of $1, after any commit that is under way. */
extern const char stream_ask_sql[];
/* Ends the streams $1, an array as text: waits for what has moved them, and what has not cannot be
 * committed. */
extern const char stream_fence_sql[];
/* For batches that bring their counts along: the triggers stay out of it until the end of the
 * transaction. */
extern const char stream_no_triggers[];
/* Forgets streams that nobody has moved for a day. */
extern const char stream_trim_sql[];

#endif
