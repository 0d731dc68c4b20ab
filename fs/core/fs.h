/* What every part of the file system shares: one mounted tree. Filled by the parts (part.h) before
 * anything is served, read-only afterwards but for those that lock themselves. */
#pragma once

#include "fs/core/account.h"
#include "fs/core/counters.h"
#include "fs/options/options.h"
#include "schema/snapshot/snapshot.h"
#include "util/mutex.h"

#include <stdatomic.h>

struct call;
struct fs;

/* Changes that have run and are not committed: they may be taken back. fs/names/removal.c sets this
 * up before the first request; the parts below it ask here. */
struct uncommitted {
	atomic_int n; /* processes that have some; 0: the functions are not called */
	/* At the begin of a request: commits what processes that have ended left open. */
	void (*finish)(struct call *call);
	/* fs->epoch before the first of them; ULONG_MAX if there is none. What was told of since
	 * may be about to change once more, so the kernel is to keep nothing of it. */
	unsigned long (*since)(struct fs *fs);
};

struct fs {
	const struct options *opt;
	int state;           /* the directory state_dir: for files without a name */
	int place;           /* this mount's directory in it */
	int rotations;       /* a directory in that: see rotations.h */
	struct fence *fence; /* `place` is this daemon's */
	struct db_pool *pool;
	struct snapshots snapshots;   /* what is served: layout, catalog, tree */
	struct bucket_cache *buckets; /* time buckets that the server has told */
	struct bodies *bodies;
	struct trails *trails;
	struct prefetch *prefetch;
	struct transcripts *transcripts;
	struct nodes *nodes;
	struct plain *plain;
	struct report *report;
	struct calls *calls;
	struct intake *intake;
	struct handles *handles;
	const struct kinds *kinds;
	struct moved *moved;
	struct made *made;
	struct intents *intents;
	struct orphans *orphans;
	struct removals *removals;
	struct ingest_streams *ingest;
	struct locks *locks;
	struct writer *writer;
	struct engine *stream; /* lines to committed rows: see fs/stream/engine.h */
	struct uncommitted uncommitted;
	struct counters count;
	struct account disk;   /* of state_dir: disk_max */
	struct account memory; /* of open files: memory_max */
	struct ending *ending;
	struct timer *timer;
	struct health *health;
	struct reload *reload;        /* follows the database's schema */
	atomic_bool layout_asked;     /* by SIGHUP: the layout's file is to be read */
	struct fuse_session *session; /* NULL before it is mounted */
	/* the kernel can be told to look a name up again (Linux 6.2); set before any request */
	bool expires;
	atomic_int waiting;    /* see call_may_wait() */
	atomic_int outwaiting; /* see may_outwait() in fs/kernel/ops_lock.c */
	struct caches *caches;
	struct invalidator *invalidator; /* tells the kernel what to forget */
	struct fresh *fresh; /* what is known of when what changed; never NULL in a mount */
	/* Counts the changes that this mount knows of, its own and those that it was told of; from
	 * 1. See coherence.h. */
	atomic_ulong epoch;
	/* The epoch of the last one that this mount made: what is kept for a time only, and was
	 * found before, is looked up again. */
	atomic_ulong changed;
	int64_t started; /* seconds since 1970 */
};

/* Guards the short lists of a mount: calls, open files, ingest streams, transcripts, flows, trails,
 * locks of files, removals, and what is remembered of names. It is held for a few instructions, so
 * one lock is enough for all of them, and no two of them can be taken in the wrong order. A process
 * serves one mount. */
extern struct mutex fs_lists;

/* What is served now, with a reference for the caller; another may be published at any time. Never
 * NULL while anything is served. Thread-safe. */
MUST_USE static inline struct snapshot *fs_snapshot(const struct fs *fs) {
	return snapshots_current((struct snapshots *)(uintptr_t)&fs->snapshots);
}

/* True if anything is not committed. One atomic load. */
static inline bool fs_has_uncommitted(struct fs *fs) {
	return atomic_load(&fs->uncommitted.n) > 0;
}

/* Says that this mount has changed something. */
static inline void fs_changed(struct fs *fs) {
	atomic_store(&fs->changed, atomic_fetch_add(&fs->epoch, 1) + 1);
}
