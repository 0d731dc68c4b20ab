#include "db/conn.h"

#include "util/clock.h"
#include "util/log.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>

static void empty_wake_fd(struct db_conn *c) {
	uint64_t count;
	if (!c->woken)
		return;
	c->woken = false;
	if (read(c->wake_fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		log_error("BUG: eventfd: %s", strerror(errno));
}

/* Makes the thread that waits for C's answer look at its cancel. */
static void wake(struct db_waker *waker) {
	struct db_conn *c = (struct db_conn *)((char *)waker - offsetof(struct db_conn, waker));
	uint64_t one = 1;
	c->woken = true;
	if (write(c->wake_fd, &one, sizeof(one)) < 0)
		log_error("BUG: eventfd: %s", strerror(errno));
}

struct db_conn *conn_new(const struct db_config *cfg, int stop_fd) {
	struct db_conn *c = calloc(1, sizeof(*c));
	if (c == NULL)
		return NULL;
	c->cfg = cfg;
	c->stop_fd = stop_fd;
	c->deadline_us = NEVER_US;
	c->waker.wake = wake;
	c->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (c->wake_fd < 0) {
		free(c);
		return NULL;
	}
	return c;
}

void conn_close(struct db_conn *c) {
	if (c == NULL)
		return;
	PQfinish(c->pg);
	close(c->wake_fd);
	free(c->prepared);
	buf_free(&c->news);
	free(c);
}

bool conn_is_dead(const struct db_conn *c) {
	return c->doomed || PQstatus(c->pg) == CONNECTION_BAD;
}

bool conn_alive(struct db_conn *c) {
	for (;;) {
		struct pollfd fd = { .fd = PQsocket(c->pg), .events = POLLIN };
		if (conn_is_dead(c) || PQtransactionStatus(c->pg) != PQTRANS_IDLE)
			return false;
		if (poll(&fd, 1, 0) <= 0)
			return true;
		/* Something came without being asked for: a changed setting, or the end. */
		if (!PQconsumeInput(c->pg) || PQisBusy(c->pg))
			return false;
	}
}

void conn_mark(struct db_conn *c) {
	c->failed_state[0] = '\0';
	c->failed_end = CONN_DONE;
}

void conn_attach(struct db_conn *c, struct db_cancel *cancel) {
	c->reads = cancel != NULL;
	if (cancel == NULL)
		return;
	empty_wake_fd(c);
	c->cancel = cancel;
	cancel_tie(cancel, &c->waker);
}

void conn_detach(struct db_conn *c) {
	cancel_untie(c->cancel, &c->waker);
	c->cancel = NULL;
}
