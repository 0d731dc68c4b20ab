/* Appended CSV on its way through the grouped writer: lines are cut, judged and handed on while
 * they are written. */
#pragma once

#include "fs/core/call.h"
#include "fs/rows/rows_file.h"
#include "util/text/record.h"

/* True if lines of PLACE's files can go to their table by COPY: CSV for a table of its own columns,
 * with keys that can be compared here. Other files' lines go as JSON (rows_write.c). */
bool rows_append_fits(const struct place *place);

/* Takes the whole records off H's data; MORE says what is known of the bytes behind. Refused lines
 * are in rejected/ and noted in H's bad_line. H's lock is held. Returns 0 or -errno, if the
 * database is needed and not there, or memory: then H's data keeps what was not taken, and another
 * call tries again. */
MUST_USE int rows_append_take(struct call *call, struct handle *h, enum record_more more);

/* The same for SIZE bytes behind those of H's data, which has room for them. The lines that are
 * whole are handed on from where they stand; H's data gets the rest. */
MUST_USE int rows_append_write(struct call *call, struct handle *h, const char *data, size_t size);

/* Waits until all that was taken is committed, or given up; H's deferred and H's bad_line say what
 * fsync or close has to tell. */
void rows_append_commit(struct call *call, struct handle *h);

/* What is written to F next is another text. All that was taken is on its way. */
void rows_append_end(struct rows_file *f);
