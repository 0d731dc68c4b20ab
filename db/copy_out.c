/* COPY (SELECT ...) TO STDOUT, row by row. */
#include "db/answer.h"
#include "db/cancel_request.h"
#include "db/copy.h"
#include "db/retry.h"
#include "db/run.h"
#include "db/wait.h"
#include "util/buf.h"
#include "util/clock.h"

#include <errno.h>
#include <string.h>

enum { END_GRACE_MS = 300 }; /* for the server to stop sending when it is asked to */

struct db_copy_out {
	struct db_pool *pool;
	struct db_conn *conn;
	char *sql;
	char *row;             /* the caller's until the next call; libpq's memory */
	int64_t busy_us;       /* spent waiting for the server */
	struct db_error error; /* of a COPY that failed; errnum 0 if it has not */
};

static void copy_free(struct db_copy_out *copy) {
	db_error_clear(&copy->error);
	PQfreemem(copy->row);
	free(copy->sql);
	free(copy);
}

/* -- the start --------------------------------------------------------------------------------- */

/* All in one transaction: behind a pooler the next statement may meet another session. */
static bool settings(struct buf *text, int n) {
	buf_puts(text, "SELECT ");
	for (int i = 1; i <= n; i++)
		buf_printf(text, "%sset_config('rowfs.k%d', $%d, true)", i > 1 ? ", " : "", i, i);
	return !text->failed;
}

struct beginning {
	struct db_copy_out *copy;
	const struct db_param *keys;
	int n;
};

static enum conn_end begin_once(struct db_conn *c, void *arg, struct db_error *err) {
	const struct beginning *b = arg;
	struct db_copy_out *copy = b->copy;
	AUTO_BUF struct buf names = { 0 }, text = { 0 };
	struct conn_work set = { .params = b->keys, .n = b->n };

	buf_puts(&text, copy->sql);
	buf_puts(&text, ";COMMIT");
	if (text.failed || !settings(&names, b->n)) {
		db_error_set(err, ENOMEM, "out of memory");
		return CONN_FAILED;
	}
	set.sql = names.data;
	/* A slow reader is no slow statement: statement_timeout must not see him. */
	enum conn_end end = conn_command(c, "BEGIN;SET LOCAL statement_timeout = 0", err);
	if (end == CONN_DONE && b->n > 0)
		end = conn_run(c, &set, err);
	if (end != CONN_DONE)
		return end;
	int64_t started = clock_us();
	end = answer_to(c, PQsendQuery(c->pg, text.data), UNTIL_COPY_OUT, NULL, err);
	copy->busy_us = clock_us() - started;
	return end == CONN_DONE ? end : answer_note(c, copy->sql, copy->busy_us, end, err);
}

int db_copy_out_begin(struct db_pool *pool, const struct db_param *keys, int n, const char *sql,
		      struct db_cancel *cancel, struct db_copy_out **out, struct db_error *err) {
	struct retry r = {
		.pool = pool, .cancel = cancel, .flags = DB_REPEATABLE, .undo_ms = END_GRACE_MS
	};

	db_error_clear(err);
	struct db_copy_out *copy = calloc(1, sizeof(*copy));
	if (copy == NULL)
		return db_error_set(err, ENOMEM, "out of memory");
	copy->pool = pool;
	copy->sql = strdup(sql);
	if (copy->sql == NULL) {
		copy_free(copy);
		return db_error_set(err, ENOMEM, "out of memory");
	}
	struct beginning b = { .copy = copy, .keys = keys, .n = n };
	int rc = retry_run(&r, begin_once, &b, &copy->conn, err);
	if (rc < 0) {
		err->in_doubt = false; /* it only reads */
		copy_free(copy);
		return rc;
	}
	*out = copy;
	return 0;
}

/* -- the rows ---------------------------------------------------------------------------------- */

/* No more rows: what does the server say? Untied, so that an interrupt cannot turn the end into a
 * failure. */
static int take_end(struct db_copy_out *copy, struct db_error *err) {
	struct db_conn *c = copy->conn;
	int64_t started = clock_us();

	conn_detach(c);
	enum conn_end end = answer_wait(c, UNTIL_DONE, NULL, err);
	copy->busy_us += clock_us() - started;
	end = answer_note(c, copy->sql, copy->busy_us, end, err);
	conn_take_news(c, false, err);
	if (end == CONN_DONE)
		return 0;
	if (end == CONN_LOST || end == CONN_LOST_SENT)
		pool_lost(copy->pool, err, c->silent_since_us);
	/* Ended by an administrator: nobody interrupted the program, which would only ask again. */
	if (err->errnum == EINTR)
		err->errnum = EIO;
	db_error_copy(&copy->error, err);
	return -err->errnum;
}

static int wait_for_data(struct db_copy_out *copy, struct db_error *err) {
	struct db_conn *c = copy->conn;
	int64_t started = clock_us();
	int64_t deadline = deadline_after_ms(c->cfg->command_timeout_ms);
	short revents;

	if (cancel_fired(c->cancel)) /* before it was attached, or before this call */
		return db_error_set(err, EINTR, "the request was interrupted");
	enum wait_end end = wait_for(PQsocket(c->pg), POLLIN, c->wake_fd, -1, deadline, &revents);
	copy->busy_us += clock_us() - started;
	switch (end) {
	case WAIT_READY:
		/* If it failed, the rows that came before are still given out. */
		(void)PQconsumeInput(c->pg);
		return 0;
	case WAIT_CANCEL:
		return cancel_fired(c->cancel)
			       ? db_error_set(err, EINTR, "the request was interrupted")
			       : 0;
	case WAIT_STOP: /* a listener's */
	case WAIT_TIMEOUT:
		break;
	}
	c->counts.timeouts++;
	db_error_set(err, ETIMEDOUT, "the server sent no rows within command_timeout");
	db_error_copy(&copy->error, err); /* the server is told by db_copy_out_end() */
	return -ETIMEDOUT;
}

int db_copy_out_next(struct db_copy_out *copy, const char **data, size_t *len,
		     struct db_error *err) {
	PQfreemem(move_ptr(copy->row));
	if (copy->error.errnum != 0) {
		db_error_clear(err);
		db_error_copy(err, &copy->error);
		return -err->errnum;
	}
	if (copy->conn->state != CONN_FETCHING)
		return 0;
	for (;;) {
		int n = PQgetCopyData(copy->conn->pg, &copy->row, 1);
		if (n > 0) {
			*data = copy->row;
			*len = (size_t)n;
			return 1;
		}
		if (n < 0 || PQstatus(copy->conn->pg) == CONNECTION_BAD)
			return take_end(copy, err);
		int rc = wait_for_data(copy, err);
		if (rc < 0)
			return rc;
	}
}

void db_copy_out_attach(struct db_copy_out *copy, struct db_cancel *cancel) {
	conn_detach(copy->conn);
	conn_attach(copy->conn, cancel);
}

/* -- the end ----------------------------------------------------------------------------------- */

/* Throws away what has come. Returns true if it was the last of it. */
static bool drain_buffer(struct db_conn *c) {
	char *row = NULL;
	int n;
	while ((n = PQgetCopyData(c->pg, &row, 1)) > 0)
		PQfreemem(move_ptr(row));
	return n < 0;
}

/* Asks the server to stop, and throws away what it sent until it did. Dooms the connection if that
 * takes too long. */
static void stop_rows(struct db_conn *c) {
	AUTO_DB_ERROR struct db_error ignored = { 0 };
	int64_t deadline = deadline_after_ms(END_GRACE_MS);
	struct cancel_request *request = NULL;
	bool over = drain_buffer(c);
	short revents;

	if (!over)
		request = cancel_request_send(c->pg);
	while (!over && wait_for(PQsocket(c->pg), POLLIN, -1, -1, deadline, &revents) == WAIT_READY)
		over = !PQconsumeInput(c->pg) || drain_buffer(c);
	c->deadline_us = deadline;
	if (!over || answer_wait(c, UNTIL_DROP, NULL, &ignored) == CONN_STOPPED)
		conn_lose(c);
	if (!cancel_request_end(request, deadline))
		conn_lose(c);
}

void db_copy_out_end(struct db_copy_out *copy) {
	AUTO_DB_ERROR struct db_error ignored = { 0 };

	if (copy == NULL)
		return;
	struct db_conn *c = copy->conn;
	conn_detach(c);
	if (c->state == CONN_FETCHING) {
		if (!conn_is_dead(c))
			stop_rows(c);
		enum conn_end end = copy->error.errnum != 0 ? CONN_FAILED : CONN_DONE;
		(void)!answer_note(c, copy->sql, copy->busy_us, end, &ignored);
	}
	conn_roll_back(c, deadline_after_ms(END_GRACE_MS));
	pool_give(copy->pool, c);
	copy_free(copy);
}
