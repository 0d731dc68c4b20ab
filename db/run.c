/* Running one statement on one connection: send, wait, judge the answer. */
#include "db/cancel.h"
#include "db/conn.h"
#include "db/wait.h"
#include "util/clock.h"
#include "util/log.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

enum { FEW_PARAMS = 16, NAME_LEN = 32 };

/* The state of one wait for an answer. */
struct waiting {
	int64_t started_us, deadline_us;
	bool transaction_limit; /* the deadline is the transaction's */
	bool timed_out, cancelled, stopped;
	struct cancel_request *request;
	PGresult *result; /* the first error, or else the last result; owned */
	bool complete;    /* the server is ready for the next statement */
};

static bool is_error(const PGresult *r) {
	ExecStatusType status = PQresultStatus(r);
	return r != NULL && (status == PGRES_FATAL_ERROR || status == PGRES_BAD_RESPONSE ||
			     status == PGRES_NONFATAL_ERROR);
}

static bool is_copy(const PGresult *r) {
	ExecStatusType status = PQresultStatus(r);
	return status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH;
}

static void keep_result(struct db_conn *c, struct waiting *w, PGresult *r) {
	const char *severity = PQresultErrorField(r, PG_DIAG_SEVERITY_NONLOCALIZED);
	if (severity != NULL && strcmp(severity, "ERROR") != 0 && is_error(r))
		c->doomed = true;
	if (is_error(w->result)) {
		PQclear(r);
		return;
	}
	PQclear(w->result);
	w->result = r;
}

static void ask_server_to_stop(struct db_conn *c, struct waiting *w) {
	int64_t last = clock_us() + (int64_t)CANCEL_GRACE_MS * US_PER_MS;
	if (w->request == NULL)
		w->request = cancel_request_send(c->pg);
	if (w->deadline_us > last)
		w->deadline_us = last;
}

/* What can still be read from a connection that broke: the server's last words, or libpq's. */
static void take_last_words(struct db_conn *c, struct waiting *w) {
	c->doomed = true;
	/* Only where PQgetResult() cannot block: nothing more can arrive, or something is there. */
	while (PQstatus(c->pg) == CONNECTION_BAD || !PQisBusy(c->pg)) {
		PGresult *r = PQgetResult(c->pg);
		if (r == NULL || is_copy(r)) {
			PQclear(r);
			return;
		}
		keep_result(c, w, r);
	}
}

/* Takes one result if one is there. Returns false if the answer is complete. */
static bool take_result(struct db_conn *c, struct waiting *w) {
	PGresult *r = PQgetResult(c->pg);
	if (r == NULL) {
		w->complete = true;
		return false;
	}
	if (is_copy(r))
		c->doomed = true;
	keep_result(c, w, r);
	return !is_copy(w->result);
}

/* Reacts to what ended a wait. Returns false to give up on the answer. */
static bool react(struct db_conn *c, struct waiting *w, enum wait_end end, short revents) {
	int64_t last = clock_us() + (int64_t)STOP_GRACE_MS * US_PER_MS;

	switch (end) {
	case WAIT_READY:
		if ((revents & ~POLLOUT) == 0 || PQconsumeInput(c->pg))
			return true;
		take_last_words(c, w);
		return false;
	case WAIT_CANCEL:
		if (cancel_fired(c->cancel) && !w->cancelled) {
			w->cancelled = true;
			c->counts.cancels++;
			ask_server_to_stop(c, w);
		}
		return true;
	case WAIT_STOP:
		w->stopped = true;
		if (w->deadline_us > last)
			w->deadline_us = last;
		return true;
	case WAIT_TIMEOUT:
		break;
	}
	if (!w->timed_out && !w->cancelled) {
		w->timed_out = true;
		w->deadline_us = NEVER_US;
		ask_server_to_stop(c, w);
		return true;
	}
	c->doomed = true;
	return false;
}

/* Sends what is still to be sent and collects the answer. */
static void collect(struct db_conn *c, struct waiting *w) {
	for (;;) {
		short events = POLLIN, revents;
		if (PQflush(c->pg) > 0)
			events |= POLLOUT;
		if (PQstatus(c->pg) == CONNECTION_BAD) {
			take_last_words(c, w);
			return;
		}
		if (!PQisBusy(c->pg)) {
			if (!take_result(c, w))
				return;
			continue;
		}
		enum wait_end end =
			wait_for(PQsocket(c->pg), events, c->wake_fd, w->stopped ? -1 : c->stop_fd,
				 w->deadline_us, &revents);
		if (!react(c, w, end, revents))
			return;
	}
}

/* The server's words for both are translated, its clock is not: an answer that came before our limit
 * was not the limit's doing. */
static bool was_statement_timeout(const struct db_conn *c, const struct waiting *w,
				  const PGresult *r) {
	const char *message = PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY);
	int64_t limit = (int64_t)c->cfg->command_timeout_ms * US_PER_MS;
	return w->timed_out || (limit > 0 && clock_us() - w->started_us >= limit) ||
	       (message != NULL && strstr(message, "statement timeout") != NULL);
}

static void say_timeout(struct db_conn *c, const struct waiting *w, struct db_error *err) {
	c->counts.timeouts++;
	if (w->stopped)
		db_error_set(err, EIO, "the file system is being unmounted");
	else if (w->transaction_limit)
		db_error_set(err, ETIMEDOUT,
			     "the transaction took longer than transaction_timeout");
	else
		db_error_set(err, ETIMEDOUT,
			     "the statement took longer than command_timeout (%g s)",
			     c->cfg->command_timeout_ms / 1000.0);
}

/* We asked the server to stop, and it did so or is gone. */
static enum conn_end say_stopped(struct db_conn *c, const struct waiting *w, struct db_error *err) {
	if (w->cancelled)
		db_error_set(err, EINTR, "the request was interrupted");
	else
		say_timeout(c, w, err);
	return CONN_STOPPED;
}

static enum conn_end judge_lost(const struct db_error *err) {
	/* An ordered shutdown is obeyed between statements or inside one, which is rolled back: never
	 * between a commit and its answer. Nothing else about a lost connection is certain. */
	bool clean = strcmp(err->sqlstate, "57P01") == 0 || strcmp(err->sqlstate, "57P05") == 0;
	if (strcmp(err->sqlstate, "25P03") == 0)
		return CONN_FAILED;
	return clean ? CONN_LOST : CONN_LOST_SENT;
}

static enum conn_end judge_error(struct db_conn *c, const struct waiting *w, struct db_error *err) {
	db_error_from_result(err, w->result, c->pg);
	bool lost = err->sqlstate[0] == '\0' || c->doomed;
	if (lost && err->sqlstate[0] != '\0') {
		/* An ERROR before the end of the connection is an answer all the same. */
		const char *s = PQresultErrorField(w->result, PG_DIAG_SEVERITY_NONLOCALIZED);
		lost = s == NULL || strcmp(s, "ERROR") != 0;
	}
	if (lost) {
		c->doomed = true;
		return w->cancelled || w->timed_out ? say_stopped(c, w, err) : judge_lost(err);
	}
	if (strcmp(err->sqlstate, "57014") != 0)
		return CONN_FAILED;
	if (w->cancelled)
		db_error_set(err, EINTR, "the request was interrupted");
	else if (was_statement_timeout(c, w, w->result))
		say_timeout(c, w, err);
	snprintf(err->sqlstate, sizeof(err->sqlstate), "57014");
	return CONN_FAILED;
}

static enum conn_end judge(struct db_conn *c, struct waiting *w, PGresult **out,
			   struct db_error *err) {
	if (is_error(w->result))
		return judge_error(c, w, err);
	if (w->result != NULL && is_copy(w->result)) {
		db_error_set(err, EIO, "BUG: COPY sent as a query");
		return CONN_FAILED;
	}
	if (!w->complete || w->result == NULL) {
		c->doomed = true;
		if (w->timed_out || w->cancelled)
			return say_stopped(c, w, err);
		db_error_from_result(err, NULL, c->pg);
		return CONN_LOST_SENT;
	}
	if (out != NULL)
		*out = move_ptr(w->result);
	return CONN_DONE;
}

/* Waits for the answer to what was just sent. */
static enum conn_end answer(struct db_conn *c, PGresult **out, struct db_error *err) {
	int limit = c->cfg->command_timeout_ms;
	struct waiting w = {
		.started_us = clock_us(),
		.deadline_us = deadline_after_ms(limit > 0 ? limit + ANSWER_GRACE_MS : 0),
	};

	if (c->deadline_us < w.deadline_us) {
		w.deadline_us = c->deadline_us;
		w.transaction_limit = true;
	}
	collect(c, &w);
	/* A cancel that is still on its way would hit whatever is run here next. */
	int64_t wait_us = c->doomed ? 0 : (int64_t)CANCEL_GRACE_MS * US_PER_MS;
	if (!cancel_request_end(w.request, clock_us() + wait_us))
		c->doomed = true;
	enum conn_end end = judge(c, &w, out, err);
	PQclear(w.result);
	return end;
}

static void count(struct db_conn *c, const char *sql, int64_t started_us, enum conn_end end) {
	int64_t took = clock_us() - started_us;
	int slow_ms = c->cfg->slow_query_ms;

	c->counts.queries++;
	c->counts.query_us += (uint64_t)took;
	c->counts.query_errors += end != CONN_DONE;
	/* Parameters are people's data: never logged. */
	if (c->cfg->log_queries)
		log_info("query, %.3f ms: %s", (double)took / US_PER_MS, sql);
	if (slow_ms > 0 && took >= (int64_t)slow_ms * US_PER_MS) {
		c->counts.slow_queries++;
		log_warning("slow query, %.0f ms: %s", (double)took / US_PER_MS, sql);
	}
}

static enum conn_end note_failure(struct db_conn *c, enum conn_end end,
				  const struct db_error *err) {
	if (end != CONN_DONE && c->failed_end == CONN_DONE) {
		memcpy(c->failed_state, err->sqlstate, sizeof(c->failed_state));
		c->failed_end = end;
	}
	return end;
}

/* Nothing went out: libpq found the connection broken, or had no memory. */
static enum conn_end not_sent(struct db_conn *c, struct db_error *err) {
	db_error_from_result(err, NULL, c->pg);
	c->doomed = true;
	return CONN_LOST;
}

enum conn_end conn_command(struct db_conn *c, const char *sql, struct db_error *err) {
	int64_t started = clock_us();
	enum conn_end end = PQsendQuery(c->pg, sql) ? answer(c, NULL, err) : not_sent(c, err);
	count(c, sql, started, end);
	return note_failure(c, end, err);
}

/* The name holds the text's hash: behind a pooler a session may have another daemon's statements, and
 * the same name must mean the same text. */
static void statement_name(const struct conn_work *w, char name[NAME_LEN]) {
	snprintf(name, NAME_LEN, "s%u_%016llx", w->id, w->hash);
}

/* Sends W's parameters as they are: binary format is exact for text too, NUL and bad UTF-8 included,
 * which the server then refuses with a sentence. */
static enum conn_end send_with_params(struct db_conn *c, const struct conn_work *w,
				      const char *name, PGresult **out, struct db_error *err) {
	Oid few_types[FEW_PARAMS];
	const char *few_values[FEW_PARAMS];
	int few_lengths[FEW_PARAMS], few_formats[FEW_PARAMS];
	AUTO_FREE void *many = NULL;
	Oid *types = few_types;
	const char **values = few_values;
	int *lengths = few_lengths, *formats = few_formats;

	if (w->n > FEW_PARAMS) {
		many = calloc((size_t)w->n, sizeof(*values) + sizeof(*types) + 2 * sizeof(int));
		if (many == NULL) {
			db_error_set(err, ENOMEM, "out of memory");
			return CONN_FAILED;
		}
		values = many;
		types = (Oid *)(values + w->n);
		lengths = (int *)(types + w->n);
		formats = lengths + w->n;
	}
	for (int i = 0; i < w->n; i++) {
		const struct db_param *p = &w->params[i];
		if (p->len > INT_MAX / 2) {
			db_error_set(err, EFBIG, "a value of %zu bytes is too large", p->len);
			return CONN_FAILED;
		}
		types[i] = p->oid != 0 ? p->oid : DB_TEXT;
		values[i] = p->data;
		lengths[i] = (int)p->len;
		formats[i] = 1;
	}
	int result_format = (w->flags & DB_BINARY) != 0;
	int sent = name != NULL ? PQsendQueryPrepared(c->pg, name, w->n, values, lengths, formats,
						      result_format)
				: PQsendQueryParams(c->pg, w->sql, w->n, types, values, lengths,
						    formats, result_format);
	return sent ? answer(c, out, err) : not_sent(c, err);
}

static bool is_prepared(const struct db_conn *c, unsigned id) {
	return id / 8 < c->prepared_len && (c->prepared[id / 8] & (1u << id % 8)) != 0;
}

static void forget_prepared(struct db_conn *c, unsigned id) {
	if (id / 8 < c->prepared_len)
		c->prepared[id / 8] &= (unsigned char)~(1u << id % 8);
}

static bool note_prepared(struct db_conn *c, unsigned id) {
	if (id / 8 >= c->prepared_len) {
		size_t len = id / 8 + 16;
		unsigned char *more = realloc(c->prepared, len);
		if (more == NULL)
			return false;
		memset(more + c->prepared_len, 0, len - c->prepared_len);
		c->prepared = more;
		c->prepared_len = len;
	}
	c->prepared[id / 8] |= (unsigned char)(1u << id % 8);
	return true;
}

static enum conn_end prepare(struct db_conn *c, const struct conn_work *w, const char *name,
			     struct db_error *err) {
	AUTO_FREE Oid *types = calloc((size_t)w->n + 1, sizeof(*types));
	if (types == NULL) {
		db_error_set(err, ENOMEM, "out of memory");
		return CONN_FAILED;
	}
	for (int i = 0; i < w->n; i++)
		types[i] = w->params[i].oid != 0 ? w->params[i].oid : DB_TEXT;
	enum conn_end end = PQsendPrepare(c->pg, name, w->sql, w->n, types) ? answer(c, NULL, err)
									    : not_sent(c, err);
	if (end == CONN_LOST_SENT)
		return CONN_LOST; /* preparing does nothing that could be done twice */
	/* 42P05: a pooled session that has it from earlier. The same name is the same text. */
	if (end == CONN_FAILED && strcmp(err->sqlstate, "42P05") == 0)
		end = CONN_DONE;
	if (end == CONN_DONE && !note_prepared(c, w->id)) {
		db_error_set(err, ENOMEM, "out of memory");
		return CONN_FAILED;
	}
	return end;
}

/* True if the session has lost the statement, or its tables have changed: it was not run, and is made
 * ready to be prepared anew. */
static bool must_prepare_again(struct db_conn *c, const struct conn_work *w, const char *name,
			       const struct db_error *err) {
	AUTO_DB_ERROR struct db_error ignored = { 0 };
	char sql[NAME_LEN + 16];

	if (strcmp(err->sqlstate, "26000") == 0) {
		forget_prepared(c, w->id);
		return true;
	}
	if (strcmp(err->sqlstate, "0A000") != 0)
		return false;
	forget_prepared(c, w->id);
	snprintf(sql, sizeof(sql), "DEALLOCATE %s", name);
	return conn_command(c, sql, &ignored) == CONN_DONE;
}

static enum conn_end run_prepared(struct db_conn *c, const struct conn_work *w, PGresult **out,
				  struct db_error *err) {
	char name[NAME_LEN];
	statement_name(w, name);
	for (bool again = false;; again = true) {
		bool known = is_prepared(c, w->id);
		enum conn_end end = known ? CONN_DONE : prepare(c, w, name, err);
		if (end == CONN_DONE)
			end = send_with_params(c, w, name, out, err);
		if (end != CONN_FAILED || !known || again || !must_prepare_again(c, w, name, err))
			return end;
	}
}

enum conn_end conn_run(struct db_conn *c, const struct conn_work *w, PGresult **out,
		       struct db_error *err) {
	bool prepared = w->id != 0 && c->cfg->prepared_statements;
	int64_t started = clock_us();
	enum conn_end end =
		prepared ? run_prepared(c, w, out, err) : send_with_params(c, w, NULL, out, err);
	count(c, w->sql, started, end);
	return note_failure(c, end, err);
}
