/* Stopping what a request waits for: its statement, and its place in a pool's queues. */
#ifndef ROWFS_DB_CANCEL_H
#define ROWFS_DB_CANCEL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

struct db_conn;
struct db_pool;

/* A request's means to stop its statement: tied to a FUSE request, fired from another thread.
 * Zero-initialise with DB_CANCEL_INIT; lives as long as the call that it is given to. */
struct db_cancel {
	pthread_mutex_t lock; /* guards conn and pool */
	struct db_conn *conn; /* the connection now running our statement, or NULL */
	struct db_pool *pool; /* the pool that our call is in, or NULL */
	atomic_bool fired;
};
#define DB_CANCEL_INIT                                                                             \
	{ .lock = PTHREAD_MUTEX_INITIALIZER }

/* Stops the statement now running under C, or the next one, and every wait for a connection.
 * Returns at once: the thread that runs the statement asks the server. Thread-safe; may be called
 * before, during and after the statement. */
void db_cancel_fire(struct db_cancel *c);

/* -- internal to db/ --------------------------------------------------------------------------- */

/* Ties CANCEL to the pool in whose queues its owner may wait, before he takes the pool's lock. */
void cancel_enter(struct db_cancel *c, struct db_pool *pool);
void cancel_leave(struct db_cancel *c);
/* NULL is never fired. */
bool cancel_fired(struct db_cancel *c);

#endif
