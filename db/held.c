#include "db/held.h"

#include "db/held_state.h"
#include "db/retry.h"
#include "db/run.h"
#include "db/transaction.h"
#include "util/clock.h"

#include <errno.h>
#include <string.h>

struct db_held {
	struct db_pool *pool;
	struct db_conn *conn;
	size_t told;  /* how far the news of conn have been told early */
	int last;     /* number of the last statement that stands; 0: none, and the state is NONE */
	int saved;    /* statements from this number on have savepoints, if there are that many */
	bool careful; /* wanted from here on: each statement gets a savepoint */
	bool patient; /* and waits for locks as any statement does */
	enum held_state state;
};

static const char *const states[HELD_STATES] = { "none", "open", "limited", "broken" };
static const char *const events[HELD_EVENTS] = { "ran", "ran-limited", "undone", "undone-all",
						 "broke" };
static const state_next moves[HELD_STATES][HELD_EVENTS] = {
	[HELD_NONE][HELD_ON_RAN] = STATE_TO(HELD_OPEN),
	[HELD_NONE][HELD_ON_UNDONE_ALL] = STATE_TO(HELD_NONE),
	[HELD_NONE][HELD_ON_BREAK] = STATE_TO(HELD_BROKEN),

	[HELD_OPEN][HELD_ON_RAN] = STATE_TO(HELD_OPEN),
	[HELD_OPEN][HELD_ON_RAN_LIMITED] = STATE_TO(HELD_LIMITED),
	[HELD_OPEN][HELD_ON_UNDONE] = STATE_TO(HELD_OPEN),
	[HELD_OPEN][HELD_ON_UNDONE_ALL] = STATE_TO(HELD_NONE),
	[HELD_OPEN][HELD_ON_BREAK] = STATE_TO(HELD_BROKEN),

	[HELD_LIMITED][HELD_ON_RAN] = STATE_TO(HELD_OPEN),
	[HELD_LIMITED][HELD_ON_RAN_LIMITED] = STATE_TO(HELD_LIMITED),
	[HELD_LIMITED][HELD_ON_UNDONE] = STATE_TO(HELD_LIMITED),
	[HELD_LIMITED][HELD_ON_UNDONE_ALL] = STATE_TO(HELD_NONE),
	[HELD_LIMITED][HELD_ON_BREAK] = STATE_TO(HELD_BROKEN),
};
struct state_table held_table =
	STATE_TABLE_SAFE("held", states, events, moves, STATE_TO(HELD_BROKEN));

static void move(struct db_held *h, enum held_event event) {
	h->state = (enum held_state)state_move(&held_table, (int)h->state, (int)event);
}

/* Adds to ERR what the last statement has changed. The connection keeps it for the commit. */
static void tell_early(struct db_held *h, struct db_error *err) {
	const struct buf *news = &h->conn->news;
	if (h->told < news->len)
		buf_add(&err->news.texts, news->data + h->told, news->len - h->told);
	h->told = news->len;
}

/* -- beginning --------------------------------------------------------------------------------- */

#define BEGIN "BEGIN ISOLATION LEVEL READ COMMITTED"
#define CHECK_AT_ONCE "SET CONSTRAINTS ALL IMMEDIATE"

static enum conn_end begin_once(struct db_conn *c, void *arg, struct db_error *err) {
	static const char *const first[] = { BEGIN, CHECK_AT_ONCE };
	enum conn_end end = conn_run_behind(c, first, 2, arg, err);
	if (end == CONN_FAILED && strcmp(err->sqlstate, "26000") == 0) {
		/* the session had lost its prepared statement: it is made anew */
		conn_roll_back(c, NEVER_US);
		db_error_clear(err);
		conn_mark(c);
		end = conn_run_behind(c, first, 2, arg, err);
	}
	return transaction_before_commit(end);
}

int db_held_begin(struct db_pool *pool, struct db_statement *st, const struct db_param *params,
		  int n, unsigned flags, PGresult **out, struct db_held **held,
		  struct db_error *err) {
	struct conn_work w = conn_work_of(st, params, n, flags, out);
	struct retry r = { .pool = pool, .flags = flags };
	AUTO_FREE struct db_held *h = calloc(1, sizeof(*h));
	if (h == NULL)
		return db_error_set(err, ENOMEM, "out of memory");
	int rc = retry_run(&r, begin_once, &w, &h->conn, err);
	if (rc != 0)
		return rc;
	h->pool = pool;
	h->last = 1;
	h->saved = 2;
	move(h, HELD_ON_RAN);
	tell_early(h, err);
	*held = move_ptr(h);
	return 0;
}

/* -- going on ---------------------------------------------------------------------------------- */

/* Undoes statement NUMBER and all after it; all there are if it has no savepoint. */
static int undo(struct db_held *h, int number, struct db_error *err) {
	char sql[64] = "ROLLBACK";
	bool all = number < h->saved;
	if (!all)
		snprintf(sql, sizeof(sql), "ROLLBACK TO r%d; RELEASE r%d", number, number);
	if (!conn_is_dead(h->conn) && conn_command(h->conn, sql, err) == CONN_DONE) {
		h->last = all ? 0 : number - 1;
		move(h, all ? HELD_ON_UNDONE_ALL : HELD_ON_UNDONE);
		return 0;
	}
	move(h, HELD_ON_BREAK);
	return err->errnum != 0 ? -err->errnum
				: db_error_set(err, EIO, "the connection to the database was lost");
}

/* True if the statement that failed with END may succeed in a transaction of its own. */
static bool is_passing(enum conn_end end, const struct db_error *err) {
	return end != CONN_FAILED || strncmp(err->sqlstate, "40", 2) == 0 ||
	       strcmp(err->sqlstate, "26000") == 0 || strcmp(err->sqlstate, "0A000") == 0;
}

int db_held_run(struct db_held *h, struct db_statement *st, const struct db_param *params, int n,
		unsigned flags, PGresult **out, struct db_error *err) {
	const struct conn_work w = conn_work_of(st, params, n, flags, out);
	AUTO_DB_ERROR struct db_error failure = { 0 };
	char limit[64], savepoint[32];
	const char *first[3];
	int nfirst = 0, number = h->last + 1;
	snprintf(limit, sizeof(limit), "SET LOCAL lock_timeout = '%dms'", HELD_LOCK_MS);
	snprintf(savepoint, sizeof(savepoint), "SAVEPOINT r%d", number);
	bool begins = h->state == HELD_NONE;
	if (begins) {
		first[nfirst++] = BEGIN;
		first[nfirst++] = CHECK_AT_ONCE;
	} else if ((h->state == HELD_LIMITED) == h->patient) {
		first[nfirst++] = h->patient ? "SET LOCAL lock_timeout TO DEFAULT" : limit;
	}
	if (begins || !h->careful)
		h->saved = number + 1;
	else
		first[nfirst++] = savepoint;
	db_error_clear(err);
	conn_mark(h->conn);
	enum conn_end end = conn_run_behind(h->conn, first, nfirst, &w, err);
	if (end == CONN_DONE) {
		move(h, begins || h->patient ? HELD_ON_RAN : HELD_ON_RAN_LIMITED);
		h->last = number;
		tell_early(h, err);
		return 0;
	}
	if (is_passing(end, err))
		move(h, HELD_ON_BREAK);
	else
		(void)undo(h, number, &failure);
	return err->errnum != 0 ? -err->errnum : -EIO;
}

void db_held_be_careful(struct db_held *h) {
	h->careful = true;
}

void db_held_be_patient(struct db_held *h, bool patient) {
	h->patient = patient;
}

bool db_held_is_broken(const struct db_held *h) {
	return h->state == HELD_BROKEN;
}

int db_held_last(const struct db_held *h) {
	return h->last;
}

int db_held_back(struct db_held *h, int number, struct db_error *err) {
	conn_mark(h->conn);
	return undo(h, number, err);
}

/* -- the end ----------------------------------------------------------------------------------- */

static void end(struct db_held *h) {
	conn_roll_back(h->conn, NEVER_US);
	pool_give(h->pool, h->conn);
	free(h);
}

int db_held_commit(struct db_held *h, struct db_error *err) {
	int64_t began = clock_us();
	db_error_clear(err);
	conn_mark(h->conn);
	enum conn_end how = transaction_finish(h->conn, NULL, NULL, err);
	int rc = how == CONN_DONE ? 0 : err->errnum != 0 ? -err->errnum : -EIO;
	if (how == CONN_LOST || how == CONN_LOST_SENT)
		pool_lost(h->pool, err, began);
	err->in_doubt = how == CONN_LOST_SENT || how == CONN_STOPPED;
	conn_take_news(h->conn, err->in_doubt, err);
	end(h);
	return rc;
}

void db_held_drop(struct db_held *h) {
	if (h == NULL)
		return;
	end(h); /* its news say what did not happen */
}
