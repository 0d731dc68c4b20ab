/* The grouped writer: lines of CSV on their way to tables, by COPY.
 *
 * Lines that go to the same columns of the same table share a *lane*, whatever file and writer they
 * come from. A lane gathers them in a *batch*; a batch is one transaction: COPY, the lane's ledger
 * row (compare-and-set, so that a repetition after a lost connection cannot double it), and the
 * summary's counts. While one batch is being committed the next one gathers: with many writers that
 * is a group commit. The data goes to the server while it comes in; a batch ends at batch_size
 * lines, at flush_interval, or when somebody waits for it (fsync, close).
 *
 * Lines that the server refuses (a CHECK, a trigger, no partition) cost only themselves: the batch
 * is repeated around them in one transaction with savepoints, and they go to rejected/.
 * Thread-safe. */
#ifndef ROWFS_FS_STREAM_WRITER_H
#define ROWFS_FS_STREAM_WRITER_H

#include "fs/core/call.h"
#include "schema/count/tally.h"
#include "fs/stream/engine.h"

struct writer;

/* ENGINE outlives the writer. NULL if out of memory. */
MUST_USE struct writer *writer_new(struct engine *engine);
/* Commits what is there, and frees. */
void writer_free(struct writer *writer);

/* One writer of lines: an open handle. It is counted: the handle has one reference, and so has each
 * batch that holds lines of it, since a batch may be committed after the handle is closed (a
 * truncation in between commits nothing). The last one frees it. */
struct source {
	struct lane *lane;
	atomic_int users;
	char *path; /* for messages and rejected/; owned */
	uint64_t
		batch; /* the last batch with something of it; 0: none. The lane's lock guards it */
	/* not told yet: -errno of the first line that the server refused; and of the first that was
	 * given up, though it may be a good one */
	atomic_int refused, given_up;
};

/* For lines whose fields are COLUMNS (NCOLUMNS of them, in this order) of REL; PATH for messages.
 * *OUT has one reference, the caller's. Returns 0 or -ENOMEM. */
MUST_USE int source_open(struct writer *writer, const struct relation *rel,
			 const struct column *const *columns, int ncolumns, const char *path,
			 struct source **out);
/* One more reference. Thread-safe, as the next. */
struct source *source_hold(struct source *source);
/* Gives a reference back. What was put and is not committed stays on its way: source_commit() comes
 * first. NULL is fine. */
void source_drop(struct source *source);

/* One line within a unit. */
struct unit_line {
	uint32_t len; /* bytes in the unit's data, newline included */
	/* of these, what was put before the person's own line (an id and its comma):
	 * left out of rejected/ */
	uint32_t id_len;
	int group;       /* 0 where all lines go by COPY: see batch.h */
	uint64_t number; /* of the line in its file, from 1 */
};

/* Lines that go into one batch. The writer copies data and lines. */
struct unit {
	const char *
		/* records for COPY (FORMAT csv), each with its newline, in the order of the
		 * source's columns */
		data;
	size_t len;
	const struct unit_line *lines;
	int n;
	const struct tally *tally; /* what the lines add to the summary; NULL: the triggers count */
};

/* Adds a unit. It may wait for an earlier batch (bounded memory), and may send and commit. Errors
 * of the database are told by source_commit(). Returns 0 or -ENOMEM. */
MUST_USE int source_put(struct source *source, const struct unit *unit);

/* Waits until everything that was put is committed. Returns 0, or -errno if lines were given up
 * (the database is gone for good): then they are in rejected/. *REFUSED is 0, or -errno of the
 * first line that the server refused. */
MUST_USE int source_commit(struct source *source, int *refused);

#endif
