/* One connection to PostgreSQL: made, used and ended with deadlines, by one thread at a time.
 * Internal to db/; everybody else goes through the pool. Nothing here waits longer than its
 * deadline: libpq is used in its non-blocking form, and every wait also ends on a cancel and on the
 * pool's shutdown. */
#pragma once

#include "db/cancel.h"
#include "db/config.h"
#include "db/error.h"
#include "db/statement.h"
#include "util/buf.h"
#include "util/cleanup.h"
#include "util/states.h"

#include <stdint.h>

enum {
	ANSWER_GRACE_MS =
		2000, /* beyond command_timeout, for the server's own time-out to reach us */
	CANCEL_GRACE_MS =
		2000,         /* for a cancelled statement to end; then the connection is dropped */
	STOP_GRACE_MS = 5000, /* for a statement that runs when its listener ends */
};

/* How a statement ended, as far as repeating it matters. */
enum conn_end {
	CONN_DONE,
	CONN_FAILED,    /* the server refused it; the connection is good, nothing was done */
	CONN_LOST,      /* the connection is gone, and certainly nothing was done */
	CONN_LOST_SENT, /* the connection is gone after the work was sent: it may have been done */
	/* our deadline or a cancel came before an answer; connection dropped, as above */
	CONN_STOPPED,
};

/* What a connection is doing. The table of moves stands at the top of conn.c. */
enum conn_state {
	CONN_NEW,      /* not connected yet */
	CONN_IDLE,     /* in the pool */
	CONN_LENT,     /* its borrower's; nothing runs, and no transaction is open */
	CONN_OPEN,     /* the same, inside a transaction */
	CONN_ASKED,    /* a statement or the end of a COPY was sent; the answer is awaited */
	CONN_FEEDING,  /* takes a COPY's data */
	CONN_FETCHING, /* sends a COPY's rows */
	CONN_DEAD,     /* broken, ended by the server, or given up: it is closed, not used */
	CONN_STATES
};

enum conn_event {
	CONN_ON_CONNECT,
	CONN_ON_LEND,
	CONN_ON_GIVE, /* its borrower gives it back */
	CONN_ON_ASK,
	CONN_ON_ANSWER,      /* the answer is complete; no transaction is open */
	CONN_ON_ANSWER_OPEN, /* the same; a transaction is open, and may have failed */
	CONN_ON_COPY_IN,     /* the server asks for a COPY's data */
	CONN_ON_COPY_OUT,    /* the server begins to send a COPY's rows */
	CONN_ON_LOSS,
	CONN_EVENTS
};

extern struct state_table conn_table;

struct db_conn {
	PGconn *pg;
	enum conn_state state;       /* changed by conn_move() only */
	const struct db_config *cfg; /* the pool's copy */
	int stop_fd;                 /* readable once it is to end; its listener's; -1: of a pool */
	int wake_fd;                 /* eventfd: a cancel was fired; ours */
	bool woken; /* something may be in wake_fd; guarded by the lock of whose cancel it is */
	struct db_waker waker;    /* writes to it */
	struct db_cancel *cancel; /* whose statement runs here, or NULL; the borrower's */
	unsigned char *prepared;  /* bit per statement id: known to this session */
	size_t prepared_len;      /* bytes */
	const char *
		/* what a COPY that runs here fills, unquoted, or NULL; the borrower's */
		copy_table;
	int64_t deadline_us; /* of the transaction that runs here; NEVER_US outside */
	bool reused;         /* has answered a statement before the present loan */
	/* its transactions see what was committed before their first statement, and no more */
	bool one_snapshot;
	/* clock_us(): no sign of life since then, as far as anybody waited for one */
	int64_t silent_since_us;
	char failed_state[6];     /* SQLSTATE of the last failure since conn_mark(); "" */
	enum conn_end failed_end; /* and how it ended; CONN_DONE if nothing failed */
	struct buf news;          /* what triggers said to the borrower: see struct db_news */

	/* The pool's; guarded by its lock. */
	struct db_conn *next;
	unsigned marks; /* the pool's number of them when it was connected */
	int64_t idle_since_us;
	/* Counted by the borrower, added to the pool's sums at give-back. */
	struct {
		uint64_t queries, query_errors, timeouts, cancels, query_us, slow_queries;
	} counts;
};

/* Makes a connection that is not connected: see connect.h and session.h. CFG and STOP_FD are the
 * pool's, or the listener's, and must outlive it. NULL if out of memory, or with errno set. */
struct db_conn *conn_new(const struct db_config *cfg, int stop_fd);

/* Ends the session and frees. Does not wait. NULL is fine. */
void conn_close(struct db_conn *c);

/* True if an idle connection is still worth a statement: the server has not closed it. One
 * poll(). */
bool conn_alive(struct db_conn *c);

/* EVENT has happened to C: the one function that changes its state. */
void conn_move(struct db_conn *c, enum conn_event event);
/* C must not be used again. */
void conn_lose(struct db_conn *c);

/* True if C must not be used again: it was lost, or libpq has found it broken. */
bool conn_is_dead(struct db_conn *c);
/* True if it goes over a network, and not over a socket of this machine. */
bool conn_is_remote(const struct db_conn *c);

/* Forgets earlier failures: a new piece of work begins. */
void conn_mark(struct db_conn *c);

/* Adds to ERR what triggers have said to C's statements, and that there is more if IN_DOUBT: the
 * connection was lost, and something may have been committed. Nothing for an unmarked session. */
void conn_take_news(struct db_conn *c, bool in_doubt, struct db_error *err);

/* Ties C's statements to CANCEL (may be NULL), which ends their waits once it is fired; and unties
 * them. */
void conn_attach(struct db_conn *c, struct db_cancel *cancel);
void conn_detach(struct db_conn *c);
