/* Appended CSV on its way through the grouped writer: lines are cut, judged and handed on while they are written. */
#ifndef ROWFS_FS_ROWS_APPEND_H
#define ROWFS_FS_ROWS_APPEND_H

#include "fs/call.h"
#include "fs/handle.h"

struct rows_append;

/* True if lines of PLACE's files can go to their table by COPY: CSV for a table of its own columns, with keys that can be compared
 * here. Other files' lines go as JSON (rows_write.c). */
bool rows_append_fits(const struct place *place);

/* Takes the whole lines off H->data, and with LAST what is behind them, too. Refused lines are in rejected/ and noted in H->deferred.
 * H's lock is held. Returns 0 or -errno, if the database is needed and not there: then H->data keeps what was not taken. */
MUST_USE int rows_append_take(struct call *call, struct handle *h, bool last);

/* Waits until all that was taken is committed, or given up; H->deferred says what fsync or close has to tell. */
void rows_append_commit(struct call *call, struct handle *h);

/* What was not taken was cut away: the next byte begins a line. */
void rows_append_drop(struct handle *h);

void rows_append_free(struct rows_append *s);

#endif
