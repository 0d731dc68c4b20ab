/* `rowfs import`: copies a tree of files into a mounted rowfs. It is a client of the mount like any
 * other program: it opens, writes and closes files, and reads /.rowfs. */
#ifndef ROWFS_IMPORT_IMPORT_H
#define ROWFS_IMPORT_IMPORT_H

#include "import/journal.h"
#include "import/plan.h"

#include <stdatomic.h>

struct import {
	/* as the user said */
	int jobs;
	bool quiet, dry_run, verify, verify_only, restart;
	char *journal_path; /* owned; NULL: where journal_place() says */

	char *old, *target;   /* absolute; owned */
	int old_dir, new_dir; /* both, opened once: all else is found from there */
	char *root;           /* the mount that TARGET is in; owned */
	const char *prefix;   /* TARGET below the root: "" or "users/"; borrowed from prefix_text */
	char *prefix_text;    /* owned */
	uint64_t max_document; /* bytes: what a rows file may be replaced by */
	struct plan plan;
	struct journal *journal;

	atomic_bool stop;                 /* a signal came, or the mount is gone */
	atomic_bool lost;                 /* the mount is gone */
	atomic_ullong files, rows, bytes; /* finished */
	unsigned long long files_total, bytes_total;
	pthread_mutex_t told; /* one line at a time */
};

/* Runs `rowfs import`; ARGV[0] is "import". Returns the exit status: 0 all is in (and equal), 1
 * something is not, 2 a mistake in the arguments. */
int import_main(int argc, char **argv);

/* Opens ITEM for reading, in the old tree and on the mount. Others may write to both while the
 * import runs, so no link is followed, and only a regular file is opened. Returns the
 * descriptor, the caller's, or -errno. */
MUST_USE int import_open_old(const struct import *im, const struct item *item);
MUST_USE int import_open_new(const struct import *im, const struct item *item);

/* ITEM's first BYTES bytes are dealt with, and ROWS more rows. What is done again is not counted
 * again: import_uncount() takes all of it back. */
void import_count(struct import *im, struct item *item, uint64_t bytes, uint64_t rows);
void import_uncount(struct import *im, struct item *item);

/* The last sentence in errors.jsonl about the item, appended to OUT; nothing if there is none. */
void import_sentence(const struct import *im, const struct item *item, struct buf *out);

/* NAME for a terminal: control characters, and bytes that are no UTF-8, as %XX. */
void import_put_name(struct buf *out, const char *name);

#endif
