/* Whether a piece of work that did not end well is done again. Internal to db/. */
#ifndef ROWFS_DB_RETRY_H
#define ROWFS_DB_RETRY_H

#include "db/checkout.h"

/* One call's work, over all its tries. */
struct retry {
	struct db_pool *pool;
	struct db_cancel *cancel; /* entered; may be NULL */
	struct patience patience;
	bool repeatable; /* doing it twice does no harm */
	bool doubt;      /* an earlier try may have been committed */
};

/* How one try ended. */
struct ending {
	enum conn_end end;
	char sqlstate[6]; /* of what failed; "" */
	bool reused;      /* the connection had been idle before */
};

/* Borrows a connection for the next try and ties it to the cancel. Returns 0 or -errno with ERR
 * filled. Give it back with retry_give(). */
MUST_USE int retry_take(struct retry *r, struct db_conn **out, struct db_error *err);
void retry_give(struct retry *r, struct db_conn *c);

/* Decides, after the connection was given back. Returns 0 to try again (it has paused where needed),
 * -errno with ERR filled to give up. */
MUST_USE int retry_decide(struct retry *r, const struct ending *e, struct db_error *err);

#endif
