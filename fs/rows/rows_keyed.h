/* Lines, or the objects of a table document, that show which row they are. In one transaction, rows
 * that no line stands for are deleted, those that differ are updated, and new ones are inserted.
 * It is not an upsert: an upsert wants a value for each NOT NULL column that a line may leave out,
 * fires triggers for rows that stay as they are, and needs an index, which no view has. */
#pragma once

#include "fs/rows/rows_text.h"

struct keyed {
	const struct input *in; /* borrowed, as the text */
	const struct rows_text *text;
	/* How it is done, see keyed_begin(). */
	bool together; /* as one statement */
	bool careful;  /* rows step aside for each other, and what may be checked late is */
	int written;   /* rows that were inserted or updated */
};

/* Fills K->together. */
void keyed_begin(struct keyed *k);

/* Brings the text to the rows, in the transaction on CONN; may be called again. Returns 0 or
 * -errno: ENOTEMPTY if rows that stay refer to one that is left out, EINVAL if a line contradicts
 * its path. */
MUST_USE int keyed_run(struct db_conn *conn, struct keyed *k, struct db_error *err);

/* True if ERR may be one of the way in which it was tried, and not of the text: then K says another
 * way, to be tried in a new transaction. */
bool keyed_other_way(struct keyed *k, const struct db_error *err);

/* Lines of one SHAPE that show their key, as the array JSON of N. */
struct keyed_lines {
	const struct shape *shape;
	const struct buf *json;
	long n, there;  /* how many; how many of them have a row already */
	long differing; /* how many of these rows are to be updated */
	/* how many differ in columns that the role may not update: if any do, all columns are set,
	 * since the server has the last word */
	long fixed;
	bool aside; /* rows have stepped aside: all of them must be updated */
};

/* For the lines of a text, or some of them. prepare: counts those that are there and those
 * that differ, and, with CAREFUL, has rows step aside; for all lines before any update. update:
 * those that are there and
 * differ; insert: the others. Both add to *WRITTEN how many rows were changed. All return 0 or
 * -errno with ERR filled. */
MUST_USE int keyed_prepare(struct db_conn *conn, const struct input *in, struct keyed_lines *lines,
			   bool careful, struct db_error *err);
MUST_USE int keyed_update(struct db_conn *conn, const struct input *in,
			  const struct keyed_lines *lines, int *written, struct db_error *err);
MUST_USE int keyed_insert(struct db_conn *conn, const struct input *in,
			  const struct keyed_lines *lines, int *written, struct db_error *err);

/* If ERR says that a foreign key has kept rows from being deleted: says so, as ENOTEMPTY. Returns
 * RC, or that. */
int keyed_still_referred(int rc, struct db_error *err);
