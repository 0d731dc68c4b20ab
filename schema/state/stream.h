/* The statements of a stream of lines: COPY and INSERT into some columns of a table. An INSERT
 * moves the stream in the ledger in the same statement: see schema/state/ledger.h. */
#pragma once

#include "schema/layout/catalog.h"

struct stream_sql {
	char *copy; /* COPY rel (columns) FROM STDIN (FORMAT csv) */
	/* Few lines in one statement, with the ledger. Parameters: LEDGER_MOVE_PARAMS, with
	 * `counted` the tally's, then an array of texts for each column. See stream_was_moved(). */
	struct db_statement insert, insert_counted;
	struct db_statement insert_bare; /* without a ledger: the columns' arrays only */
};

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

/* For batches that bring their counts along: the triggers stay out of it until the end of the
 * transaction. */
extern const char stream_no_triggers[];
