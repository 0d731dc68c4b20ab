/* The state of an import that all its parts share: what was asked for, both trees, and the
 * counters; and what is done with either tree. Thread-safe, but for what only begins and ends a
 * run. */
#pragma once

#include "import/journal.h"
#include "import/plan.h"
#include "util/mutex.h"
#include "util/rows_ioctl.h"

#include <stdatomic.h>

struct import {
	/* as the user said */
	int jobs;
	bool quiet, dry_run, verify, verify_only, restart;
	char *journal_path; /* owned; NULL: where journal_place() says */

	char *old, *target;    /* absolute; owned */
	int old_dir, new_dir;  /* both, opened once: all else is found from there */
	char *root;            /* the mount that TARGET is in; owned */
	char *prefix;          /* TARGET below the root: "" or "users/"; owned */
	uint64_t max_document; /* bytes: what a rows file may be replaced by */
	struct plan plan;
	struct journal *journal;

	atomic_bool stop;                 /* a signal came, or the mount is gone */
	atomic_bool lost;                 /* the mount is gone */
	atomic_ullong files, rows, bytes; /* finished */
	unsigned long long files_total, bytes_total;
	struct mutex told; /* one line at a time */
};

/* Opens ITEM for reading, in the old tree and on the mount. Others may write to both while the
 * import runs, so no link is followed, and only a regular file is opened. Returns the
 * descriptor, the caller's, or -errno. */
MUST_USE int import_open_old(const struct import *im, const struct item *item);
MUST_USE int import_open_new(const struct import *im, const struct item *item);
/* True if the old file is not any more as it was when the import began. */
bool import_has_changed(const struct import *im, const struct item *item);

/* Opens the item on the mount for writing, making directories above it.
 * Returns the descriptor or -errno. */
MUST_USE int import_open_for_writing(const struct import *im, const struct item *item, int flags);
/* Where two files are not the same any more. */
struct import_difference {
	uint64_t offset, line; /* of the first byte, from 0; of the line that it is in, from 1 */
	bool a_ends, b_ends;   /* which of them end there; both: they are the same */
};

/* Compares the files A and B, which are read from where they stand. Returns 0 or -errno. */
MUST_USE int import_compare(int a, int b, struct import_difference *out);
/* Writes all. Returns 0 or -errno. */
MUST_USE int import_write(int fd, const char *data, size_t len);
/* Asks the mount for the rows of the ingest file. Returns 0 or -errno. */
MUST_USE int import_ask_rows(const struct import *im, const struct item *item,
			     struct rowfs_rows *out);

/* ITEM's first BYTES bytes are dealt with, and ROWS more rows. What is done again is not counted
 * again: import_uncount() takes all of it back. */
void import_count(struct import *im, struct item *item, uint64_t bytes, uint64_t rows);
void import_uncount(struct import *im, struct item *item);

/* A file of /.rowfs as text, the caller's, or NULL with errno. */
char *import_read_control(const struct import *im, const char *name);

/* The last sentence in errors.jsonl about the item, appended to OUT; nothing if there is none. */
void import_sentence(const struct import *im, const struct item *item, struct buf *out);

/* NAME for a terminal: control characters, and bytes that are no UTF-8, as %XX. */
void import_put_name(struct buf *out, const char *name);
