/* Lines that are no rows: what is told of them once it is certain that the others are. One thread
 * at a time. */
#pragma once

#include "fs/stream/engine.h"

#include <stdbool.h>

struct refusal {
	uint64_t number; /* of the line in its file, from 1 */
	uint64_t more;   /* it stands for so many others, too, which came behind it, */
	uint64_t last;   /* up to this one */
	int index;       /* of the line where it was gathered, or -1 */
	int errnum;
	char sqlstate[6]; /* "" if the server was not asked */
	char *text;       /* owned */
	size_t len;
	char *why; /* a sentence; owned */
};

struct refusals {
	struct refusal *all;
	int n;
	size_t bytes; /* of their texts */
	/* index of the one that stands for all that were too many, plus 1; 0: there is none */
	int fold;
};

void refusals_clear(struct refusals *list);
/* Adds one, which the caller fills but for TEXT (LEN bytes) and WHY: these are copied. False if out
 * of memory. */
MUST_USE bool refusals_add(struct refusals *list, struct refusal one, const char *text, size_t len,
			   const char *why);
/* The same, if the text is kept elsewhere: after 1000, or 4 MiB of text, one stands for all
 * others. */
MUST_USE bool refusals_add_or_fold(struct refusals *list, struct refusal one, const char *text,
				   size_t len, const char *why);
/* Moves what FROM has behind what TO has. False if out of memory: then all of it is still in
 * FROM. */
MUST_USE bool refusals_move(struct refusals *to, struct refusals *from);
/* The same for lists of which one folds. */
MUST_USE bool refusals_move_or_fold(struct refusals *to, struct refusals *from);

/* Of several errors the first one is told: *FIRST becomes RC, unless it has one. */
static inline void keep_first(int *first, int rc) {
	if (*first == 0)
		*first = rc;
}

/* True for errors that lie in the input: the same input would fail again. */
bool refuse_is_input_error(int rc);

/* Keeps input of PATH that was refused in rejected/ and tells it, at once: a LINE, counted from 1,
 * or with LINE 0 a whole text. DATA may be NULL. RC is its -errno, and ERR says why, if it has a
 * sentence. Empties ERR. Returns RC. */
int refuse_input(struct engine *engine, const char *path, uint64_t line, const char *data,
		 size_t len, int rc, struct db_error *err);

/* Writes ONE, a line of PATH, into rejected/ and errors.jsonl, and counts it. Returns its
 * -errno. */
int refusal_tell(const struct refusal *one, struct engine *engine, const char *path);
/* The same for all of them. Returns -errno of the first, or 0. */
int refusals_tell(const struct refusals *list, struct engine *engine, const char *path);
