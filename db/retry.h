/* Whether a piece of work that did not end well is done again. Internal to db/. */
#pragma once

#include "db/checkout.h"

/* One call's work, over all its tries. Zero but for what is said. */
struct retry {
	struct db_pool *pool;     /* required */
	struct db_cancel *cancel; /* may be NULL */
	unsigned flags;           /* DB_REPEATABLE, DB_NO_RETRY */
	int undo_ms; /* how long a failed try's ROLLBACK may take; 0: command_timeout */
	struct patience patience;
	bool doubt;            /* an earlier try may have been committed */
	struct db_waker waker; /* of the pool, while retry_run() lasts */
};

/* One try, on a connection that was borrowed for it. Returns how it ended; ERR is filled unless
 * that is CONN_DONE. A transaction that it leaves open after a failure is rolled back. */
typedef enum conn_end (*retry_fn)(struct db_conn *c, void *arg, struct db_error *err);

/* Runs ONCE with ARG until it is done or there is no more to hope for: the rules are those of
 * db_query(). Enters R's cancel meanwhile. On success, *KEEP is the connection, which is the
 * caller's to detach and to give back; with KEEP NULL it is given back. Returns 0, or -errno with
 * ERR filled. */
MUST_USE int retry_run(struct retry *r, retry_fn once, void *arg, struct db_conn **keep,
		       struct db_error *err);
