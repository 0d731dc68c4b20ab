/* When documents changed last, and names in directories, as far as this mount has seen: the time
 * where no column of the row tells it, or an earlier one. It outlives the nodes, which the kernel
 * gives back as it likes: a time that went back, or a change of the same length without a new
 * time, would make `rsync`, `git` and `make` take the new document for the old one. The last
 * TIMES_SETS * TIMES_WAYS of them are remembered.
 *
 * The caller holds the lock of the node table. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { TIMES_SETS = 32768, TIMES_WAYS = 2 };

/* A document, by its identity (inode.h). */
struct document_time {
	uint64_t ino;     /* 0: a free place */
	uint64_t version; /* hash; 0: whichever is found next */
	int64_t mtime_ns; /* since 1970; 0: it has not changed since the mount began */
	/* fs->epoch when this mount wrote it last: what was asked for before may have been
	 * answered with the version before. 0: it did not */
	unsigned long epoch;
};

struct times {
	struct document_time sets[TIMES_SETS][TIMES_WAYS];
};

/* The document INO was found in VERSION (NULL: its relation has none) at time NOW_NS. CHANGED: the
 * caller knows that the version before was another one. Returns when the document changed last; 0:
 * not since the mount began, as far as is known. */
int64_t times_found(struct times *times, uint64_t ino, const char *version, bool changed,
		    int64_t now_ns);
/* When the document INO changed last; 0: not since the mount began, as far as is known. -1 if this
 * mount has written it since EPOCH, when the question was asked that found it, so that it may be
 * what was there before; ULONG_MAX: no matter. */
int64_t times_since(struct times *times, uint64_t ino, unsigned long epoch);
/* A name in directory INO has come or gone at time NOW_NS. No two changes have the same time. */
void times_named(struct times *times, uint64_t ino, int64_t now_ns);
/* This mount has changed the document INO at time NOW_NS; EPOCH is fs->epoch behind that change. */
void times_written(struct times *times, uint64_t ino, int64_t now_ns, unsigned long epoch);
