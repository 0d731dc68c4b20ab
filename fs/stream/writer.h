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
#pragma once

#include "schema/count/tally.h"
#include "fs/stream/engine.h"
#include "fs/stream/source.h"

struct snapshot;

/* ENGINE outlives the writer. NULL if out of memory. */
MUST_USE struct writer *writer_new(struct engine *engine);
/* Commits what is there, and frees. */
void writer_free(struct writer *writer);

/* For lines whose fields are COLUMNS (NCOLUMNS of them, in this order) of REL, which belong to
 * SNAPSHOT (NULL: to none); PATH for messages. *OUT has one reference, the caller's. Returns 0 or
 * -ENOMEM. */
MUST_USE int source_open(struct writer *writer, struct snapshot *snapshot,
			 const struct relation *rel, const struct column *const *columns,
			 int ncolumns, const char *path, struct source **out);
/* Adds a unit. It may wait for an earlier batch (bounded memory), and may send and commit. Errors
 * of the database are told by source_commit(). Returns 0 or -ENOMEM. */
MUST_USE int source_put(struct source *source, const struct unit *unit);

/* Waits until everything that was put is committed. Returns 0, or -errno if lines were given up
 * (the database is gone for good): then they are in rejected/. *REFUSED is 0, or -errno of the
 * first line that the server refused. */
MUST_USE int source_commit(struct source *source, int *refused);
