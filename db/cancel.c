/* The order of locks is cancel -> pool: db_cancel_fire() holds the cancel's lock while it wakes the
 * pool's waiters, and nobody who holds the pool's lock touches a cancel's. */
#include "db/cancel.h"

#include "db/checkout.h"
#include "db/conn.h"
#include "util/cleanup.h"

void cancel_enter(struct db_cancel *c, struct db_pool *pool) {
	if (c == NULL)
		return;
	LOCK_SCOPE(&c->lock);
	c->pool = pool;
}

void cancel_leave(struct db_cancel *c) {
	if (c == NULL)
		return;
	LOCK_SCOPE(&c->lock);
	c->pool = NULL;
}

bool cancel_fired(struct db_cancel *c) {
	return c != NULL && atomic_load(&c->fired);
}

void db_cancel_fire(struct db_cancel *c) {
	LOCK_SCOPE(&c->lock);
	atomic_store(&c->fired, true);
	if (c->conn != NULL)
		conn_wake(c->conn);
	if (c->pool != NULL)
		pool_wake(c->pool);
}
