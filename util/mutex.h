/* Mutexes that know their place in the order of locks.
 *
 * A thread that holds a lock may only wait for one that stands below it in `enum mutex_rank`: that
 * list is the order of locks of the whole program. A debug build (ROWFS_DEBUG: see util/states.h)
 * keeps the locks that each thread holds, and aborts with both names where one is waited for that
 * is not below all of them. mutex_trylock() never waits, so it may take any lock, but what is
 * waited for afterwards must be below that, too. A release build has a pthread_mutex_t and nothing
 * more.
 *
 * No two locks of one rank are held at a time: work on another handle or removal begins when the
 * first one's lock has been given back. */
#pragma once

#include "util/cleanup.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* The order of locks, top to bottom, and what each guards. */
#define MUTEX_RANKS_(RANK)                                                                         \
	RANK(SHOWN)      /* which content the readers of one version of a document are shown */    \
	RANK(HANDLE)     /* an open file; held during its reads, writes and commits */             \
	RANK(PREFETCH)   /* directories whose pages are fetched ahead; held meanwhile */           \
	RANK(INGEST)     /* an ingest file's stream; held during its reads and commits */          \
	RANK(REMOVAL)    /* one process's open DELETEs; held while a statement runs there */       \
	RANK(TRANSCRIPT) /* a rows file's copy and its end; held during queries */                 \
	RANK(LANE)       /* what gathers for one table; not held during a commit */                \
	RANK(WRITER)     /* the list of lanes */                                                   \
	RANK(FENCE)      /* the stream in use */                                                   \
	RANK(PLAIN)      /* plain files while they are made, removed or change their size */       \
	RANK(LISTS)      /* the short lists of a mount: fs_lists in fs/core/fs.h */                \
	RANK(INTAKE)     /* requests that wait for a thread */                                     \
	RANK(CANCEL)     /* whom the end of one request's wait wakes */                            \
	RANK(POOL)       /* connections */                                                         \
	RANK(CACHES)     /* what other mounts and the kernel are to be told */                     \
	RANK(NODES)      /* all nodes, and the bodies of documents */                              \
	RANK(SNAPSHOT)   /* which snapshot is the newest */                                        \
	RANK(BUCKETS)    /* time buckets that the server has told */                               \
	RANK(REPORT)     /* errors.jsonl and rejected/ */                                          \
	RANK(TOLD)       /* import: its output, a line at a time */                                \
	RANK(RELOAD)     /* what is known of the last look at the schema */                        \
	RANK(TICKER)     /* util/ticker: whether it is called */                                   \
	RANK(JOB)        /* util/job: threads that are free */

#define MUTEX_RANK_(name) MUTEX_##name,
enum mutex_rank { MUTEX_RANKS_(MUTEX_RANK_) MUTEX_RANKS };
#undef MUTEX_RANK_

struct mutex {
	pthread_mutex_t lock;
#ifdef ROWFS_DEBUG
	enum mutex_rank rank;
#endif
};

#ifdef ROWFS_DEBUG
#define MUTEX_INIT(of_rank)                                                                        \
	{ .lock = PTHREAD_MUTEX_INITIALIZER, .rank = (of_rank) }

/* Of debug builds: M is about to be waited for, was taken, is given back. */
void mutex_check(const struct mutex *m);
void mutex_note_taken(const struct mutex *m);
void mutex_note_given(const struct mutex *m);
/* How many locks this thread has taken, ever; 0 in a release build. */
uint64_t mutex_taken(void);
#else
#define MUTEX_INIT(of_rank)                                                                        \
	{ .lock = PTHREAD_MUTEX_INITIALIZER }

static inline void mutex_check(const struct mutex *m) {
	(void)m;
}
static inline void mutex_note_taken(const struct mutex *m) {
	(void)m;
}
static inline void mutex_note_given(const struct mutex *m) {
	(void)m;
}
static inline uint64_t mutex_taken(void) {
	return 0;
}
#endif

static inline void mutex_init(struct mutex *m, enum mutex_rank rank) {
	*m = (struct mutex)MUTEX_INIT(rank);
}

/* M is not held by anybody. */
static inline void mutex_destroy(struct mutex *m) {
	pthread_mutex_destroy(&m->lock);
}

static inline void mutex_lock(struct mutex *m) {
	mutex_check(m);
	pthread_mutex_lock(&m->lock);
	mutex_note_taken(m);
}

static inline void mutex_unlock(struct mutex *m) {
	mutex_note_given(m);
	pthread_mutex_unlock(&m->lock);
}

/* Returns true if it has taken M, false if somebody has it. */
MUST_USE static inline bool mutex_trylock(struct mutex *m) {
	if (pthread_mutex_trylock(&m->lock) != 0)
		return false;
	mutex_note_taken(m);
	return true;
}

/* Waits for M until UNTIL_US (clock_us()). Returns false if it was not given back by then. */
MUST_USE bool mutex_lock_until(struct mutex *m, int64_t until_us);

/* Waits for CONDITION; the lock M is free meanwhile. */
void mutex_wait(pthread_cond_t *condition, struct mutex *m);
/* The same until UNTIL_US (clock_us()): CONDITION is one of clock_condition(). Returns 0, or
 * ETIMEDOUT when it is over. */
int mutex_wait_until(pthread_cond_t *condition, struct mutex *m, int64_t until_us);

static inline void cleanup_unlock(struct mutex **m) {
	mutex_unlock(*m);
}
static inline struct mutex *lock_mutex(struct mutex *m) {
	mutex_lock(m);
	return m;
}

/* Holds the lock OF until the enclosing scope ends. At most one per line. */
#define CONCAT_(a, b) a##b
#define CONCAT(a, b) CONCAT_(a, b)
#define LOCK_SCOPE(of)                                                                             \
	__attribute__((cleanup(cleanup_unlock), unused)) struct mutex *CONCAT(                     \
		lock_at_, __LINE__) = lock_mutex(of)
