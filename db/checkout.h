/* Borrowing connections from the pool. Internal to db/: retry.c is the borrower. */
#pragma once

#include "db/conn.h"

struct db_pool;

/* How much of its retry budget one call has used. Zero-initialise. */
struct patience {
	int connects_failed;   /* own attempts, and others' that it waited for */
	int losses;            /* connections lost under its statement */
	int conflicts;         /* serialization failures and deadlocks */
	bool stale_seen;       /* a reused connection turned out dead: costs nothing, once */
	bool stray_seen;       /* a cancel that nobody asked for: repeated once */
	bool no_retry;         /* DB_NO_RETRY */
	int64_t not_before_us; /* pause before its next attempt to connect */
	int64_t began_us;      /* when the call began whose budget counts: see db/budget.h */
};

/* Borrows a connection: an idle one, a new one, or the next that is given back. Waits for a busy
 * pool at most command_timeout, for a lost database as long as P allows. CANCEL may be NULL;
 * otherwise a waker that calls pool_wake() must be tied to it. Returns 0, or -errno with ERR
 * filled. */
MUST_USE int pool_take(struct db_pool *pool, struct patience *p, struct db_cancel *cancel,
		       struct db_conn **out, struct db_error *err);

/* Gives C back; a dead one is closed. C must be detached, and its news taken: what is left of them
 * is dropped. */
void pool_give(struct db_pool *pool, struct db_conn *c);

/* The database went away under a statement: ERR's text is remembered, idle connections are closed.
 * It has not answered since SINCE_US, clock_us(). */
void pool_lost(struct db_pool *pool, const struct db_error *err, int64_t since_us);

/* Counts one more loss of a connection against P and pauses before the next try (not before the
 * first). STALE: it was an idle connection that had died unnoticed. Returns 0 to try again, -errno
 * to give up: -EIO with ERR as it was when the budget is used up, otherwise with ERR filled. */
MUST_USE int pool_retry_loss(struct db_pool *pool, struct patience *p, bool stale,
			     struct db_cancel *cancel, struct db_error *err);

/* The same after a serialization failure or deadlock, with short pauses: -EBUSY in the end. */
MUST_USE int pool_retry_conflict(struct db_pool *pool, struct patience *p, struct db_cancel *cancel,
				 struct db_error *err);

/* Wakes everybody who waits in the pool, to look whether it concerns him. */
void pool_wake(struct db_pool *pool);

/* The moves of whether connections can be made; for tests. */
extern struct state_table reach_table;
