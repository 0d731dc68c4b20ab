/* Stopping what a request waits for: its statement, and its place in a pool's queues. */
#pragma once

#include "util/mutex.h"

#include <stdatomic.h>
#include <stdbool.h>

/* Somebody whose wait ends when a cancel is fired. */
struct db_waker {
	/* Called by the thread that fires, with the cancel's lock held: it may take the locks of a
	 * pool, and must not wait. */
	void (*wake)(struct db_waker *waker);
	struct db_waker *next; /* the cancel's */
};

/* A request's means to stop its statement: tied to a FUSE request, fired from another thread.
 * Zero-initialise with DB_CANCEL_INIT; lives as long as the call that it is given to. */
struct db_cancel {
	struct mutex lock;       /* guards wakers */
	struct db_waker *wakers; /* the connection of our statement, and the pool of our call */
	atomic_bool fired;
};
#define DB_CANCEL_INIT                                                                             \
	{ .lock = MUTEX_INIT(MUTEX_CANCEL) }

/* Stops the statement now running under C, or the next one, and every wait for a connection.
 * Returns at once: the thread that runs the statement asks the server. Thread-safe; may be called
 * before, during and after the statement. */
void db_cancel_fire(struct db_cancel *c);

/* -- internal to db/ --------------------------------------------------------------------------- */

/* Ties WAKER to C (may be NULL) until cancel_untie(): it is woken once C is fired, and must live so
 * long. Not to be called with the lock of a pool. If C was fired before, it is not woken: ask
 * cancel_fired() then. */
void cancel_tie(struct db_cancel *c, struct db_waker *waker);
/* After it has returned, WAKER is not called any more. */
void cancel_untie(struct db_cancel *c, struct db_waker *waker);
/* NULL is never fired. */
bool cancel_fired(const struct db_cancel *c);
