/* The order of locks is cancel -> pool: db_cancel_fire() holds the cancel's lock while it wakes the
 * pool's waiters, and nobody who holds the pool's lock touches a cancel's. */
#include "db/cancel.h"

void cancel_tie(struct db_cancel *c, struct db_waker *waker) {
	if (c == NULL)
		return;
	LOCK_SCOPE(&c->lock);
	waker->next = c->wakers;
	c->wakers = waker;
}

void cancel_untie(struct db_cancel *c, struct db_waker *waker) {
	if (c == NULL)
		return;
	LOCK_SCOPE(&c->lock);
	struct db_waker **p = &c->wakers;
	while (*p != NULL && *p != waker)
		p = &(*p)->next;
	if (*p != NULL)
		*p = waker->next;
}

bool cancel_fired(const struct db_cancel *c) {
	return c != NULL && atomic_load(&c->fired);
}

void db_cancel_fire(struct db_cancel *c) {
	LOCK_SCOPE(&c->lock);
	atomic_store(&c->fired, true);
	for (struct db_waker *w = c->wakers; w != NULL; w = w->next)
		w->wake(w);
}
