#include "db/conn.h"

#include "util/clock.h"
#include "util/log.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>

static const char *const states[CONN_STATES] = {
	"new", "idle", "lent", "open", "asked", "feeding", "fetching", "dead",
};
static const char *const events[CONN_EVENTS] = {
	"connect", "lend", "give", "ask", "answer", "answer-open", "copy-in", "copy-out", "loss",
};
static const state_next moves[CONN_STATES][CONN_EVENTS] = {
	[CONN_NEW][CONN_ON_CONNECT] = STATE_TO(CONN_LENT),
	[CONN_NEW][CONN_ON_LOSS] = STATE_TO(CONN_DEAD),

	[CONN_IDLE][CONN_ON_LEND] = STATE_TO(CONN_LENT),
	[CONN_IDLE][CONN_ON_LOSS] = STATE_TO(CONN_DEAD),

	[CONN_LENT][CONN_ON_ASK] = STATE_TO(CONN_ASKED),
	[CONN_LENT][CONN_ON_GIVE] = STATE_TO(CONN_IDLE),
	[CONN_LENT][CONN_ON_LOSS] = STATE_TO(CONN_DEAD),

	[CONN_OPEN][CONN_ON_ASK] = STATE_TO(CONN_ASKED),
	/* nobody knows what the transaction holds, so it must end */
	[CONN_OPEN][CONN_ON_GIVE] = STATE_TO(CONN_DEAD),
	[CONN_OPEN][CONN_ON_LOSS] = STATE_TO(CONN_DEAD),

	[CONN_ASKED][CONN_ON_ANSWER] = STATE_TO(CONN_LENT),
	[CONN_ASKED][CONN_ON_ANSWER_OPEN] = STATE_TO(CONN_OPEN),
	[CONN_ASKED][CONN_ON_COPY_IN] = STATE_TO(CONN_FEEDING),
	[CONN_ASKED][CONN_ON_COPY_OUT] = STATE_TO(CONN_FETCHING),
	[CONN_ASKED][CONN_ON_LOSS] = STATE_TO(CONN_DEAD),

	/* the end of the data is sent; the rows are at their end, or not wanted any more */
	[CONN_FEEDING][CONN_ON_ASK] = STATE_TO(CONN_ASKED),
	[CONN_FEEDING][CONN_ON_LOSS] = STATE_TO(CONN_DEAD),
	[CONN_FETCHING][CONN_ON_ASK] = STATE_TO(CONN_ASKED),
	[CONN_FETCHING][CONN_ON_LOSS] = STATE_TO(CONN_DEAD),

	/* it may be found dead more than once on its way back to the pool */
	[CONN_DEAD][CONN_ON_LOSS] = STATE_TO(CONN_DEAD),
	[CONN_DEAD][CONN_ON_GIVE] = STATE_TO(CONN_DEAD),
	/* its end came right behind an answer, as a notice: whoever has it learns of it here */
	[CONN_DEAD][CONN_ON_ASK] = STATE_TO(CONN_DEAD),
};
struct state_table conn_table =
	STATE_TABLE_SAFE("connection", states, events, moves, STATE_TO(CONN_DEAD));

void conn_move(struct db_conn *c, enum conn_event event) {
	c->state = (enum conn_state)state_move(&conn_table, (int)c->state, (int)event);
}

void conn_lose(struct db_conn *c) {
	conn_move(c, CONN_ON_LOSS);
}

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
	c->woken = true;
	if (eventfd_write(c->wake_fd, 1) != 0)
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

bool conn_is_dead(struct db_conn *c) {
	if (c->state != CONN_DEAD && PQstatus(c->pg) == CONNECTION_BAD)
		conn_lose(c);
	return c->state == CONN_DEAD;
}

bool conn_is_remote(const struct db_conn *c) {
	const char *host = PQhost(c->pg);
	return host != NULL && host[0] != '\0' && host[0] != '/' && host[0] != '@';
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

void conn_take_news(struct db_conn *c, bool in_doubt, struct db_error *err) {
	if (c->cfg->mark != NULL) {
		if (c->news.len > 0)
			buf_add(&err->news.texts, c->news.data, c->news.len);
		err->news.unknown |= in_doubt || c->news.failed || err->news.texts.failed;
	}
	buf_free(&c->news);
}

void conn_attach(struct db_conn *c, struct db_cancel *cancel) {
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
