/* COPY ... FROM STDIN: fed piece by piece at the head of a transaction of its own, or all at once
 * inside another one. */
#include "db/answer.h"
#include "db/copy.h"
#include "db/copy_table.h"
#include "db/retry.h"
#include "db/run.h"
#include "db/transaction.h"
#include "util/buf.h"
#include "util/clock.h"

#include <errno.h>
#include <string.h>

enum {
	PIECE = 64 * 1024,        /* bytes given to libpq at once: its buffer never shrinks again */
	UNSENT_MOST = 256 * 1024, /* bytes that may wait in libpq's buffer */
	ABORT_GRACE_MS = 100,     /* for the server to take the end of a COPY that is given up */
};

struct db_copy_in {
	struct db_pool *pool;
	struct db_conn *conn;
	char *sql, *table;
	size_t unsent;   /* at most so many bytes are still in libpq's buffer */
	int64_t busy_us; /* spent in here so far: the person's own pauses are not the database's */
	enum conn_end end;     /* of what failed; CONN_DONE while all is well */
	struct db_error error; /* why */
};

static void copy_free(struct db_copy_in *copy) {
	if (copy == NULL)
		return;
	db_error_clear(&copy->error);
	free(copy->table);
	free(copy->sql);
	free(copy);
}

static struct db_copy_in *copy_new(struct db_pool *pool, const char *sql) {
	struct db_copy_in *copy = calloc(1, sizeof(*copy));
	if (copy == NULL)
		return NULL;
	copy->pool = pool;
	copy->sql = strdup(sql);
	copy->table = copy_table(sql);
	if (copy->sql == NULL) {
		copy_free(copy);
		return NULL;
	}
	return copy;
}

/* -- the data ---------------------------------------------------------------------------------- */

/* The COPY broke while it was fed. Fills ERR with the server's last words. */
static enum conn_end broken(struct db_conn *c, struct db_error *err) {
	(void)PQputCopyEnd(c->pg, "the connection broke");
	enum conn_end end = answer_wait(c, UNTIL_DROP, NULL, err);
	conn_lose(c);
	if (end == CONN_DONE) {
		db_error_set(err, EIO, "the server ended the COPY before its data's end");
		return CONN_LOST;
	}
	return transaction_before_commit(end);
}

/* Gives DATA to libpq, which sends what the socket takes; waits only when too much has gathered. */
static enum conn_end feed(struct db_conn *c, size_t *unsent, const char *data, size_t len,
			  struct db_error *err) {
	while (len > 0) {
		size_t n = len < PIECE ? len : PIECE;
		if (PQputCopyData(c->pg, data, (int)n) != 1)
			return broken(c, err);
		data += n;
		len -= n;
		*unsent += n;
		int rest = PQflush(c->pg);
		if (rest < 0)
			return broken(c, err);
		if (rest == 0)
			*unsent = 0;
		if (*unsent < UNSENT_MOST)
			continue;
		enum conn_end end = answer_wait(c, UNTIL_SENT, NULL, err);
		if (end != CONN_DONE) {
			conn_lose(c);
			return transaction_before_commit(end);
		}
		*unsent = 0;
	}
	return CONN_DONE;
}

/* Ends the data and waits for the server's word. */
static enum conn_end end_data(struct db_conn *c, long long *rows, struct db_error *err) {
	AUTO_RESULT PGresult *res = NULL;

	if (PQputCopyEnd(c->pg, NULL) != 1 && PQstatus(c->pg) == CONNECTION_OK) {
		enum conn_end end = answer_not_sent(c, err);
		return transaction_before_commit(end);
	}
	enum conn_end end = transaction_before_commit(answer_wait(c, UNTIL_DONE, &res, err));
	if (end == CONN_DONE && rows != NULL)
		*rows = strtoll(PQcmdTuples(res), NULL, 10);
	return end;
}

/* -- a transaction that begins with a COPY ----------------------------------------------------- */

/* statement_timeout would end a COPY that merely waits for more lines: the deadlines are ours while
 * it lasts. */
static bool opening(struct buf *text, const char *setup, const char *sql) {
	buf_puts(text, "BEGIN;SET LOCAL statement_timeout = 0;");
	if (setup != NULL) {
		buf_puts(text, setup);
		buf_puts(text, ";");
	}
	buf_puts(text, sql);
	return !text->failed;
}

struct beginning {
	struct db_copy_in *copy;
	const char *text;
};

static enum conn_end begin_once(struct db_conn *c, void *arg, struct db_error *err) {
	const struct beginning *b = arg;
	int64_t started = clock_us();

	c->copy_table = b->copy->table;
	enum conn_end end = answer_to(c, PQsendQuery(c->pg, b->text), UNTIL_COPY_IN, NULL, err);
	b->copy->busy_us = clock_us() - started;
	if (end == CONN_DONE)
		return end;
	end = answer_note(c, b->copy->sql, b->copy->busy_us, transaction_before_commit(end), err);
	c->copy_table = NULL;
	return end;
}

int db_copy_in_begin(struct db_pool *pool, const char *setup, const char *sql,
		     struct db_copy_in **out, struct db_error *err) {
	AUTO_BUF struct buf text = { 0 };

	db_error_clear(err);
	struct db_copy_in *copy = copy_new(pool, sql);
	if (copy == NULL || !opening(&text, setup, sql)) {
		copy_free(copy);
		return db_error_set(err, ENOMEM, "out of memory");
	}
	struct retry r = { .pool = pool, .flags = DB_REPEATABLE };
	struct beginning b = { .copy = copy, .text = text.data };
	int rc = retry_run(&r, begin_once, &b, &copy->conn, err);
	if (rc < 0) {
		err->in_doubt = false; /* nothing was to be committed yet */
		copy_free(copy);
		return rc;
	}
	*out = copy;
	return 0;
}

/* Remembers why COPY cannot be finished. */
static void fail(struct db_copy_in *copy, enum conn_end end, struct db_error *err) {
	copy->end = end;
	db_error_copy(&copy->error, err);
}

int db_copy_in_put(struct db_copy_in *copy, const char *data, size_t len, struct db_error *err) {
	struct db_conn *c = copy->conn;

	db_error_clear(err);
	if (copy->end != CONN_DONE) {
		db_error_copy(err, &copy->error);
		return -err->errnum;
	}
	int64_t started = clock_us();
	enum conn_end end = feed(c, &copy->unsent, data, len, err);
	copy->busy_us += clock_us() - started;
	if (end == CONN_DONE)
		return 0;
	end = answer_note(c, copy->sql, copy->busy_us, end, err);
	fail(copy, end, err);
	return -err->errnum;
}

/* Gives the connection back and frees; a transaction that is still open is rolled back within
 * GRACE. */
static void give_back(struct db_copy_in *copy, int grace_ms) {
	struct db_conn *c = copy->conn;
	conn_roll_back(c, deadline_after_ms(grace_ms));
	c->copy_table = NULL;
	pool_give(copy->pool, c);
	copy_free(copy);
}

static enum conn_end finish(struct db_copy_in *copy, db_tx_fn fn, void *arg, long long *rows,
			    struct db_error *err) {
	struct db_conn *c = copy->conn;
	int64_t started = clock_us();
	enum conn_end end = end_data(c, rows, err);
	end = answer_note(c, copy->sql, copy->busy_us + clock_us() - started, end, err);
	return end == CONN_DONE ? transaction_finish(c, fn, arg, err) : end;
}

int db_copy_in_finish(struct db_copy_in *copy, db_tx_fn fn, void *arg, long long *rows,
		      struct db_error *err) {
	struct db_conn *c = copy->conn;
	enum conn_end end = copy->end;

	db_error_clear(err);
	if (end == CONN_DONE) {
		c->deadline_us = deadline_after_ms(c->cfg->transaction_timeout_ms);
		end = finish(copy, fn, arg, rows, err);
		err->in_doubt |= end == CONN_LOST_SENT || end == CONN_STOPPED ||
				 strcmp(c->failed_state, "40003") == 0;
		err->retryable |= end == CONN_LOST || end == CONN_LOST_SENT ||
				  strncmp(c->failed_state, "40", 2) == 0;
	} else {
		db_error_copy(err, &copy->error);
	}
	if (end == CONN_LOST || end == CONN_LOST_SENT)
		pool_lost(copy->pool, err, c->silent_since_us);
	c->deadline_us = NEVER_US;
	conn_take_news(c, end == CONN_LOST_SENT || end == CONN_STOPPED, err);
	give_back(copy, 0);
	if (end != CONN_DONE)
		return err->errnum != 0 ? -err->errnum : -EIO;
	db_error_clear(err);
	return 0;
}

void db_copy_in_abort(struct db_copy_in *copy) {
	AUTO_DB_ERROR struct db_error ignored = { 0 };

	if (copy == NULL)
		return;
	struct db_conn *c = copy->conn;
	if (c->state == CONN_FEEDING && !conn_is_dead(c)) {
		c->deadline_us = deadline_after_ms(ABORT_GRACE_MS);
		/* The server answers with an error that says so; the connection is then good
		 * again. */
		enum conn_end end = answer_to(c, PQputCopyEnd(c->pg, "given up by the client"),
					      UNTIL_DROP, NULL, &ignored);
		if (end != CONN_FAILED)
			conn_lose(c);
	}
	give_back(copy, ABORT_GRACE_MS);
}

/* -- inside a transaction ---------------------------------------------------------------------- */

int db_copy_on(struct db_conn *conn, const char *sql, const char *data, size_t len, long long *rows,
	       struct db_error *err) {
	AUTO_FREE char *table = copy_table(sql);
	const char *outer = conn->copy_table;
	int64_t started = clock_us();
	size_t unsent = 0;

	if (conn_is_dead(conn))
		return db_error_set(err, EIO, "the connection to the database was lost");
	conn->copy_table = table;
	enum conn_end end = answer_to(conn, PQsendQuery(conn->pg, sql), UNTIL_COPY_IN, NULL, err);
	if (end == CONN_DONE)
		end = feed(conn, &unsent, data, len, err);
	if (end == CONN_DONE)
		end = end_data(conn, rows, err);
	conn->copy_table = outer;
	end = answer_note(conn, sql, clock_us() - started, end, err);
	return end == CONN_DONE ? 0 : -err->errnum;
}
