/* Waiting for what the server answers, and judging it. */
#include "db/answer.h"

#include "db/cancel_request.h"
#include "db/wait.h"
#include "util/clock.h"
#include "util/log.h"

#include <errno.h>
#include <string.h>

enum { PROBE_FIRST_MS = 3000 };
#define PROBE_TIMEOUT_S "4"

/* The state of one wait for an answer. */
struct waiting {
	enum answer_until until;
	int64_t started_us, deadline_us;
	bool transaction_limit; /* the deadline is the transaction's */
	bool timed_out, cancelled, stopped;
	bool silent;      /* the server does not answer others either */
	int64_t probe_us; /* when it is asked next; NEVER_US: not at all */
	int64_t pause_us; /* since it was asked last */
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
		conn_lose(c);
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

/* True if R is the start of the COPY that is waited for. */
static bool is_wanted_copy(const struct waiting *w, const PGresult *r) {
	ExecStatusType status = PQresultStatus(r);
	return (w->until == UNTIL_COPY_IN && status == PGRES_COPY_IN) ||
	       (w->until == UNTIL_COPY_OUT && status == PGRES_COPY_OUT);
}

/* What can still be read from a connection that broke: the server's last words, or libpq's. */
static void take_last_words(struct db_conn *c, struct waiting *w) {
	conn_lose(c);
	/* libpq reads no error while it believes that a COPY is fed. */
	if (w->until == UNTIL_SENT)
		(void)PQputCopyEnd(c->pg, "the connection broke");
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

/* One result of several statements that went out together. What the server skipped behind an error
 * is none. */
static bool take_of_many(struct db_conn *c, struct waiting *w) {
	PGresult *r = PQgetResult(c->pg);
	ExecStatusType status = PQresultStatus(r);
	if (r == NULL) /* the end of one statement's results */
		return true;
	w->complete = status == PGRES_PIPELINE_SYNC;
	if (w->complete || status == PGRES_PIPELINE_ABORTED)
		PQclear(r);
	else
		keep_result(c, w, r);
	return !w->complete;
}

/* Takes one result if one is there. Returns false if the answer is complete. */
static bool take_result(struct db_conn *c, struct waiting *w) {
	if (w->until == UNTIL_SYNC)
		return take_of_many(c, w);
	PGresult *r = PQgetResult(c->pg);
	if (r == NULL) {
		w->complete = true;
		return false;
	}
	if (is_wanted_copy(w, r)) {
		keep_result(c, w, r);
		w->complete = true;
		return false;
	}
	if (is_copy(r))
		conn_lose(c);
	keep_result(c, w, r);
	return !is_copy(w->result);
}

/* Reacts to what ended a wait. Returns false to give up on the answer. */
static bool react(struct db_conn *c, struct waiting *w, enum wait_end end, short revents) {
	int64_t last = clock_us() + (int64_t)STOP_GRACE_MS * US_PER_MS;

	switch (end) {
	case WAIT_READY:
		if ((revents & POLLIN) != 0)
			c->silent_since_us = clock_us();
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
	if (!w->timed_out && !w->cancelled && w->until != UNTIL_DROP) {
		w->timed_out = true;
		w->deadline_us = NEVER_US;
		ask_server_to_stop(c, w);
		return true;
	}
	w->timed_out = true;
	conn_lose(c);
	return false;
}

/* A statement may take long, and a network that drops packets looks the same from here. Whether the
 * server answers somebody else tells the two apart: after some seconds of silence, and then in
 * longer and longer pauses, it is asked for another connection. */
static bool server_answers(const struct db_conn *c) {
	const char *conninfo = c->cfg->conninfo != NULL ? c->cfg->conninfo : "";
	const char *const keys[] = {
		"dbname", "host", "hostaddr", "port", "connect_timeout", NULL
	};
	const char *const values[] = { conninfo,      PQhost(c->pg),   PQhostaddr(c->pg),
				       PQport(c->pg), PROBE_TIMEOUT_S, NULL };
	return PQpingParams(keys, values, 1) != PQPING_NO_RESPONSE;
}

/* The wait has come to its end, or to a probe. Returns true if it goes on. */
static bool goes_on(struct db_conn *c, struct waiting *w, enum wait_end end) {
	if (end != WAIT_TIMEOUT || w->probe_us == NEVER_US || clock_us() >= w->deadline_us)
		return false;
	int64_t silent_us = clock_us() - c->silent_since_us;
	if (silent_us >= w->pause_us) {
		w->silent = !server_answers(c);
		w->pause_us *= 2;
	}
	w->probe_us = c->silent_since_us + w->pause_us;
	return true;
}

/* Sends what is still to be sent and collects the answer. */
static void collect(struct db_conn *c, struct waiting *w) {
	for (;;) {
		short events = POLLIN, revents;
		int unsent = PQflush(c->pg);
		if (unsent > 0)
			events |= POLLOUT;
		if (PQstatus(c->pg) == CONNECTION_BAD) {
			take_last_words(c, w);
			return;
		}
		if (w->until == UNTIL_SENT) {
			w->complete = unsent == 0;
			if (w->complete)
				return;
		} else if (!PQisBusy(c->pg)) {
			if (!take_result(c, w))
				return;
			continue;
		}
		enum wait_end end = wait_for(
			PQsocket(c->pg), events, c->wake_fd, w->stopped ? -1 : c->stop_fd,
			w->probe_us < w->deadline_us ? w->probe_us : w->deadline_us, &revents);
		if (goes_on(c, w, end)) {
			if (!w->silent)
				continue;
			conn_lose(c);
			return;
		}
		if (!react(c, w, end, revents))
			return;
	}
}

/* The server's words for both are translated, its clock is not: an answer that came before our
 * limit was not the limit's doing. */
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
			     "the transaction took longer than transaction_timeout (%g s): mount "
			     "with a larger one, or write less at once",
			     c->cfg->transaction_timeout_ms / 1000.0);
	else
		db_error_set(err, ETIMEDOUT,
			     "the statement took longer than command_timeout (%g s): mount with a "
			     "larger one, or see what it waits for in pg_stat_activity",
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
	/* An ordered shutdown is obeyed between statements or inside one, which is rolled back:
	 * never between a commit and its answer. Nothing else about a lost connection is
	 * certain. */
	bool clean = strcmp(err->sqlstate, "57P01") == 0 || strcmp(err->sqlstate, "57P05") == 0;
	if (strcmp(err->sqlstate, "25P03") == 0)
		return CONN_FAILED;
	return clean ? CONN_LOST : CONN_LOST_SENT;
}

/* Where a COPY stopped, if what it stopped at was its data. */
static long long refused_line(const struct db_conn *c, const PGresult *r, const char *sqlstate) {
	static const char *const not_the_data[] = { "08", "40", "53", "55", "57", "58", "XX" };
	if (c->copy_table == NULL)
		return 0;
	for (size_t i = 0; i < sizeof(not_the_data) / sizeof(not_the_data[0]); i++)
		if (strncmp(sqlstate, not_the_data[i], 2) == 0)
			return 0;
	return db_error_copy_line(PQresultErrorField(r, PG_DIAG_CONTEXT), c->copy_table);
}

static enum conn_end judge_error(struct db_conn *c, const struct waiting *w, struct db_error *err) {
	db_error_from_result(err, w->result, c->pg);
	err->copy_line = refused_line(c, w->result, err->sqlstate);
	bool lost = err->sqlstate[0] == '\0' || c->state == CONN_DEAD;
	if (lost && err->sqlstate[0] != '\0') {
		/* An ERROR before the end of the connection is an answer all the same. */
		const char *s = PQresultErrorField(w->result, PG_DIAG_SEVERITY_NONLOCALIZED);
		lost = s == NULL || strcmp(s, "ERROR") != 0;
	}
	if (lost) {
		conn_lose(c);
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
	bool wanted = is_wanted_copy(w, w->result) || (w->until == UNTIL_SENT && !w->timed_out);
	if (w->result != NULL && is_copy(w->result) && !wanted) {
		db_error_set(err, EIO, "BUG: COPY sent as a query");
		return CONN_FAILED;
	}
	if (wanted && (w->timed_out || w->cancelled)) {
		/* It began just as the server was asked to stop. */
		conn_lose(c);
		return say_stopped(c, w, err);
	}
	if (!w->complete || (w->result == NULL && !wanted)) {
		conn_lose(c);
		if (w->timed_out || w->cancelled)
			return say_stopped(c, w, err);
		if (w->silent)
			db_error_set(err, EIO,
				     "the server does not answer, and takes no new connection");
		else
			db_error_from_result(err, NULL, c->pg);
		return CONN_LOST_SENT;
	}
	if (out != NULL)
		*out = move_ptr(w->result);
	return CONN_DONE;
}

/* What the answer has made of the connection. */
static void move_on(struct db_conn *c, enum answer_until until) {
	bool many = PQpipelineStatus(c->pg) != PQ_PIPELINE_OFF;
	if (c->state == CONN_DEAD || until == UNTIL_SENT)
		return;
	if (many && !PQexitPipelineMode(c->pg)) {
		conn_lose(c);
		return;
	}
	switch (PQtransactionStatus(c->pg)) {
	case PQTRANS_IDLE:
		conn_move(c, CONN_ON_ANSWER);
		return;
	case PQTRANS_INTRANS:
	case PQTRANS_INERROR:
		conn_move(c, CONN_ON_ANSWER_OPEN);
		return;
	case PQTRANS_ACTIVE:
		conn_move(c, until == UNTIL_COPY_IN ? CONN_ON_COPY_IN : CONN_ON_COPY_OUT);
		return;
	case PQTRANS_UNKNOWN:
		conn_lose(c);
	}
}

enum conn_end answer_wait(struct db_conn *c, enum answer_until until, PGresult **out,
			  struct db_error *err) {
	int limit = c->cfg->command_timeout_ms;
	struct waiting w = {
		.until = until,
		.started_us = clock_us(),
		.deadline_us = deadline_after_ms(limit > 0 ? limit + ANSWER_GRACE_MS : 0),
	};

	if (until != UNTIL_SENT)
		conn_move(c, CONN_ON_ASK);
	if (c->deadline_us < w.deadline_us) {
		w.deadline_us = c->deadline_us;
		w.transaction_limit = true;
	}
	c->silent_since_us = w.started_us;
	w.pause_us = (int64_t)PROBE_FIRST_MS * US_PER_MS;
	w.probe_us =
		conn_is_remote(c) && until != UNTIL_DROP ? w.started_us + w.pause_us : NEVER_US;
	collect(c, &w);
	/* A cancel that is still on its way would hit whatever is run here next. */
	int64_t wait_us = c->state == CONN_DEAD ? 0 : (int64_t)CANCEL_GRACE_MS * US_PER_MS;
	if (!cancel_request_end(w.request, clock_us() + wait_us))
		conn_lose(c);
	enum conn_end end = judge(c, &w, out, err);
	move_on(c, until);
	PQclear(w.result);
	return end;
}

static void count(struct db_conn *c, const char *sql, int64_t took_us, enum conn_end end) {
	int slow_ms = c->cfg->slow_query_ms;

	c->counts.queries++;
	c->counts.query_us += (uint64_t)took_us;
	c->counts.query_errors += end != CONN_DONE;
	/* Parameters are people's data: never logged. */
	if (c->cfg->log_queries)
		log_info("query, %.3f ms: %s", (double)took_us / US_PER_MS, sql);
	if (slow_ms > 0 && took_us >= (int64_t)slow_ms * US_PER_MS) {
		c->counts.slow_queries++;
		log_warning("slow query, %.0f ms: %s", (double)took_us / US_PER_MS, sql);
	}
}

enum conn_end answer_note(struct db_conn *c, const char *sql, int64_t took_us, enum conn_end end,
			  struct db_error *err) {
	count(c, sql, took_us, end);
	if (end == CONN_DONE)
		return end;
	err->retryable =
		end == CONN_LOST || end == CONN_LOST_SENT || strncmp(err->sqlstate, "40", 2) == 0;
	/* the last one says what became of the work: one before it may have been undone with its
	 * part of the transaction; but not that the transaction has failed before (25P02) */
	if (c->failed_end == CONN_DONE ||
	    (c->failed_end == CONN_FAILED && strcmp(err->sqlstate, "25P02") != 0)) {
		memcpy(c->failed_state, err->sqlstate, sizeof(c->failed_state));
		c->failed_end = end;
	}
	return end;
}

enum conn_end answer_not_sent(struct db_conn *c, struct db_error *err) {
	db_error_from_result(err, NULL, c->pg);
	conn_lose(c);
	return CONN_LOST;
}

enum conn_end answer_to(struct db_conn *c, int sent, enum answer_until until, PGresult **out,
			struct db_error *err) {
	return sent == 1 ? answer_wait(c, until, out, err) : answer_not_sent(c, err);
}
