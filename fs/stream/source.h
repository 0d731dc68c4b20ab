/* Whose lines they are: between an open file, the lane that its lines wait in, and the batches that
 * have them. */
#pragma once

#include "fs/stream/refusals.h"
#include "schema/count/tally.h"

#include <stdatomic.h>

/* One writer of lines: an open handle. It is counted: the handle has one reference, and so has each
 * batch that holds lines of it, since a batch may be committed after the handle is closed (a
 * truncation in between commits nothing). The last one frees it. */
struct source {
	struct lane *lane;
	atomic_int *of_lane; /* how many sources its lane has; NULL while it has no lane */
	atomic_int users;
	char *path; /* for messages and rejected/; owned */
	uint64_t
		batch; /* the last batch with something of it; 0: none. The lane's lock guards it */
	/* not told yet: -errno of the first line that the server refused; and of the first that was
	 * given up, though it may be a good one */
	atomic_int refused, given_up;
};

/* One line within a unit: a record for COPY (FORMAT csv), or whatever its sender takes. */
struct unit_line {
	const char *text; /* without its line end; borrowed */
	uint32_t len;
	int group;       /* 0 where all lines go by COPY: see batch.h */
	uint64_t number; /* of the line in its file, from 1 */
	int64_t id;      /* the key that is put before it, with a comma; 0: none */
};

/* Lines that go into one batch, which copies their text: no other copy is made of it. */
struct unit {
	const struct unit_line *lines;
	int n;
	char lead;        /* what is put before each line; '\0': nothing */
	const char *tail; /* what is put behind each line, before its line end; NULL: nothing */
	size_t tail_len;
	const struct tally *tally; /* what the lines add to the summary; NULL: the triggers count */
};

/* For lines of PATH. One reference, the caller's. NULL if out of memory. */
MUST_USE struct source *source_new(const char *path);
/* One more reference. Thread-safe, as the rest. */
struct source *source_hold(struct source *source);
/* Gives a reference back. What was put and is not committed stays on its way: source_commit() comes
 * first. NULL is fine. */
void source_drop(struct source *source);

/* Tells ONE, a line of SOURCE that the server has refused, or that was GIVEN_UP, and notes it for
 * the next source_commit(). */
void source_tell(struct source *source, struct engine *engine, const struct refusal *one,
		 bool given_up);
