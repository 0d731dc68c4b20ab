#include "db/retry.h"

#include "db/budget.h"
#include "db/run.h"
#include "util/clock.h"

#include <errno.h>
#include <string.h>

/* How one try ended. */
struct ending {
	enum conn_end end;
	char sqlstate[6];        /* of what failed; "" */
	bool reused;             /* the connection had been idle before */
	int64_t silent_since_us; /* clock_us() of its last sign of life */
};

static int give_up(const struct retry *r, struct db_error *err, int errnum) {
	if (err->errnum == 0 || err->sentence == NULL)
		db_error_set(err, errnum, "%s", strerror(errnum));
	err->errnum = errnum;
	err->in_doubt |= r->doubt;
	return -errnum;
}

/* Borrows a connection for the next try and ties it to the cancel. */
static int take(struct retry *r, struct db_conn **out, struct db_error *err) {
	int rc = pool_take(r->pool, &r->patience, r->cancel, out, err);
	if (rc < 0)
		return give_up(r, err, -rc);
	conn_attach(*out, r->cancel);
	if (!cancel_fired(r->cancel))
		return 0;
	conn_detach(*out);
	pool_give(r->pool, *out);
	db_error_set(err, EINTR, "the request was interrupted");
	return give_up(r, err, EINTR);
}

/* The connection was lost. What the next pause has to say replaces ERR only if it ends the call. */
static int decide_lost(struct retry *r, const struct ending *e, struct db_error *err) {
	bool stale = e->reused && e->end == CONN_LOST;
	AUTO_DB_ERROR struct db_error why = { 0 };

	pool_lost(r->pool, err, e->silent_since_us);
	int rc = pool_retry_loss(r->pool, &r->patience, stale, r->cancel, &why);
	if (rc == 0)
		return 0;
	if (why.sentence != NULL)
		db_error_set(err, -rc, "%s", why.sentence);
	else
		err->retryable = true;
	return give_up(r, err, -rc);
}

static int decide_failed(struct retry *r, const char *state, struct db_error *err) {
	if (strcmp(state, "40003") == 0 && (r->flags & DB_REPEATABLE) == 0)
		r->doubt = true;
	else if (strncmp(state, "40", 2) == 0 && !r->patience.no_retry)
		return pool_retry_conflict(r->pool, &r->patience, r->cancel, err) == 0
			       ? 0
			       : give_up(r, err, err->errnum != 0 ? err->errnum : EBUSY);
	/* A cancel meant for the statement that ran here before us, and late. */
	if (strcmp(state, "57014") == 0 && err->errnum == EINTR && !cancel_fired(r->cancel)) {
		if (!r->patience.stray_seen) {
			r->patience.stray_seen = true;
			return 0;
		}
		/* an administrator's: nobody interrupted the program, which would only ask again */
		return give_up(r, err, EIO);
	}
	return give_up(r, err, err->errnum != 0 ? err->errnum : EIO);
}

/* Decides, after the connection was given back. Returns 0 to try again (it has paused where
 * needed), -errno with ERR filled to give up. */
static int decide(struct retry *r, const struct ending *e, struct db_error *err) {
	switch (e->end) {
	case CONN_FAILED:
		return decide_failed(r, e->sqlstate, err);
	case CONN_LOST:
		return decide_lost(r, e, err);
	case CONN_LOST_SENT:
		r->doubt = true;
		if ((r->flags & DB_REPEATABLE) != 0)
			return decide_lost(r, e, err);
		pool_lost(r->pool, err, e->silent_since_us);
		return give_up(r, err, EIO);
	case CONN_STOPPED:
		r->doubt = true;
		return give_up(r, err, err->errnum != 0 ? err->errnum : EIO);
	case CONN_DONE:
		break;
	}
	return give_up(r, err, err->errnum != 0 ? err->errnum : EIO);
}

/* Returns 1 if the try is done, 0 to try again, -errno. */
static int try_once(struct retry *r, retry_fn once, void *arg, struct db_conn **keep,
		    struct db_error *err) {
	struct db_conn *c;
	int rc = take(r, &c, err);
	if (rc < 0)
		return rc;
	struct ending e = { .reused = c->reused };
	db_error_clear(err);
	conn_mark(c);
	e.end = once(c, arg, err);
	/* A conflict or a stray cancel counts even where ONCE put an error of its own in its
	 * place. */
	memcpy(e.sqlstate, c->failed_state, sizeof(e.sqlstate));
	if (e.end == CONN_DONE && keep != NULL) {
		*keep = c;
		return 1;
	}
	e.silent_since_us = c->silent_since_us;
	/* what may be interrupted changes nothing */
	conn_take_news(c, (e.end == CONN_LOST_SENT || e.end == CONN_STOPPED) && r->cancel == NULL,
		       err);
	if (e.end != CONN_DONE)
		conn_roll_back(c, r->undo_ms > 0 ? deadline_after_ms(r->undo_ms) : NEVER_US);
	conn_detach(c);
	pool_give(r->pool, c);
	return e.end == CONN_DONE ? 1 : decide(r, &e, err);
}

/* Its owner may wait in the pool's queues. */
static void wake(struct db_waker *waker) {
	pool_wake(((struct retry *)((char *)waker - offsetof(struct retry, waker)))->pool);
}

int retry_run(struct retry *r, retry_fn once, void *arg, struct db_conn **keep,
	      struct db_error *err) {
	int rc = 0;
	db_error_clear(err);
	r->patience.no_retry = (r->flags & DB_NO_RETRY) != 0;
	r->patience.began_us = budget_began_us();
	r->waker.wake = wake;
	cancel_tie(r->cancel, &r->waker);
	while (rc == 0)
		rc = try_once(r, once, arg, keep, err);
	cancel_untie(r->cancel, &r->waker);
	if (rc < 0)
		return rc;
	db_error_clear(err);
	return 0;
}
