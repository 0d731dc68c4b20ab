/* What is in the old tree, what each file is on the mount, and in which order files go in: a row
 * before what refers to it. The layout is read from the mount; only forms of names are compared,
 * whether a name is a key's is for the mount to say. */
#pragma once

#include "import/route.h"
#include "util/text/format.h"

#include <stdint.h>
#include <sys/stat.h>

enum item_state { ITEM_WAITING, ITEM_DONE, ITEM_REFUSED, ITEM_LEFT_OUT, ITEM_STATES };

struct item {
	char *path; /* below the old tree, without a slash in front; owned */
	uint64_t size;
	struct timespec mtime;
	mode_t mode;
	enum file_class what;
	const struct route *route; /* NULL: no route has it */
	/* CLASS_LINES: documents below the same directory are of the same relation */
	bool shadowed;
	enum item_state state;
	int errnum;    /* ITEM_REFUSED */
	char *why;     /* ITEM_REFUSED, ITEM_LEFT_OUT: a sentence; owned */
	bool was_done; /* from the journal: an earlier run copied it as it is now */
	/* from the journal: its lines before `offset` are in, `good` rows of them (-1: not
	 * known) */
	bool begun;
	uint64_t offset;
	int64_t good;
	uint64_t counted,
		rows_counted; /* what the progress has of it: bytes of the old file, and rows */
};

struct plan {
	struct routes routes;
	struct item *items; /* in the order of copying */
	size_t n;
	struct item **by_path; /* sorted */
	char **directories;    /* empty ones */
	size_t ndirectories;
	bool failed; /* out of memory */
};

/* Walks the tree in the directory OLD, which is open; PREFIX is where it goes below the mount
 * ("" or "users/"). What cannot be copied is an item that is left out or refused. Returns 0 or
 * -errno (of OLD itself). */
MUST_USE int plan_scan(struct plan *plan, int old, const char *prefix);
/* The item of that path, or NULL. Borrowed. */
struct item *plan_find(const struct plan *plan, const char *path);
/* True if documents below the directory of the item are of the same relation; with DONE: and one of
 * them is in. */
bool plan_shadowed(const struct plan *plan, const struct item *item, bool done);
void plan_free(struct plan *plan);

/* Sets the item's end; WHY is copied. */
void item_end(struct item *item, enum item_state state, int errnum, const char *why);
/* The format of a file of lines. */
const struct format *item_format(const struct item *item);
