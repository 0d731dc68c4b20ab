/* A stream whose file may follow another one, see schema/state/ingest_twin.h: `gzip X` and
 * `gunzip X.gz`
 * make a second file with the text of the first.
 *
 * As long as what was written is the beginning of the other file's text, its lines are in the table
 * already: they become no rows, and are not refused again. When all of the text is there, the
 * commit takes the rows over. When the text turns out to be another one, all lines become rows, and
 * that there are two files is told.
 *
 * s->lock is held in all of these. */
#pragma once

#include "fs/files/ingest.h"

void ingest_twin_free(struct ingest_twin *twin);

/* What the text is that was written so far. */
enum twin_text {
	TWIN_NONE,   /* there is no other file with rows, or it is the owner's */
	TWIN_BEGINS, /* the beginning of the other file's text */
	TWIN_WHOLE,  /* all of it */
	TWIN_OTHER,  /* another one: the stream follows no more. Told. */
};

/* Puts some of our bytes from OFFSET on into OUT, which is empty; none at their end. Returns 0 or
 * -errno. */
typedef int twin_read(struct call *call, void *arg, uint64_t offset, struct buf *out);

/* Compares all that the file has, committed or not: what READ gets, with ARG. Returns 0 with *TEXT,
 * or -errno with CALL's error filled. */
MUST_USE int ingest_twin_compare(struct call *call, struct ingest_stream *s, twin_read *read,
				 void *arg, enum twin_text *text);

/* The same for a content that is to replace the file's; *TWIN is the other file with TWIN_BEGINS
 * and TWIN_WHOLE, else NULL; free it. */
MUST_USE int ingest_twin_compare_file(struct call *call, const struct ingest_stream *s,
				      twin_read *read, void *arg, struct ingest_twin **twin,
				      enum twin_text *text);

/* The file that has the rows of the stream's committed lines: its own id, or that of the one that
 * it follows. */
int64_t ingest_twin_owner(const struct ingest_stream *s);

/* The row of the unfinished last line of TWIN's text, or NULL. Borrowed. */
const char *ingest_twin_tail(const struct ingest_twin *twin);
/* Adds to STATE, an object, what is to be known of the file that follows TWIN, or (TAKES) has taken
 * its rows. */
void ingest_twin_put_state(const struct ingest_twin *twin, bool takes, struct buf *state);

/* In the transaction that commits all of the text, as change OP of file ME. First: 0, or
 * INGEST_MOVED: TWIN was changed, compare again. Last: the rows are ME's. */
MUST_USE int ingest_twin_lock(struct db_conn *conn, const struct ingest_twin *twin, const char *op,
			      const char *of_table, struct db_error *err);
MUST_USE int ingest_twin_take_rows(struct db_conn *conn, const struct ingest_twin *twin, int64_t me,
				   const char *op, struct db_error *err);
