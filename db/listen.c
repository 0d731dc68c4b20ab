#include "db/listen.h"

#include "db/run.h"
#include "db/session.h"
#include "db/wait.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/thread.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>

enum {
	ASK_S = 5, /* silence after which the server is asked whether it is there */
	PAUSE_MIN_MS =
		/* before the first attempt to connect anew; each pause is twice as long as the
		 * one before */
	50,
	PAUSE_MAX_MS = 5000,
};

struct db_listener {
	struct db_config cfg; /* the greeting is ours */
	char *command;        /* "LISTEN channel; LISTEN other" */
	const struct db_listen_job *job;
	void *arg;
	int stop_fd; /* eventfd, readable once it shall end */
	pthread_t thread;
	struct db_conn *conn; /* the thread's own */
};

static void free_listener(struct db_listener *l) {
	conn_close(l->conn);
	if (l->stop_fd >= 0)
		close(l->stop_fd);
	free((char *)l->cfg.greeting);
	free(l->command);
	free(l);
}

static struct db_listener *new_listener(const struct db_config *cfg,
					const struct db_listen_job *job, void *arg) {
	struct db_listener *l = calloc(1, sizeof(*l));
	if (l == NULL)
		return NULL;
	l->job = job;
	l->arg = arg;
	l->cfg = *cfg;
	l->cfg.greeting = strdup(cfg->greeting != NULL ? cfg->greeting : "");
	/* what is the other sessions' is not for this one */
	l->cfg.search_path = l->cfg.isolation_level = l->cfg.mark = NULL;
	l->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (asprintf(&l->command, "LISTEN %s; LISTEN %s", job->channel, job->other) < 0)
		l->command = NULL;
	if (l->cfg.greeting == NULL || l->command == NULL || l->stop_fd < 0) {
		free_listener(l);
		return NULL;
	}
	return l;
}

static void begin_asking(struct db_listener *l) {
	l->conn->deadline_us = deadline_after_ms(l->cfg.connect_timeout_s * 1000);
}

static int end_asking(struct db_listener *l, enum conn_end end, const struct db_error *err) {
	l->conn->deadline_us = NEVER_US;
	return end == CONN_DONE ? 0 : -err->errnum;
}

static int send_command(struct db_listener *l, const char *sql, struct db_error *err) {
	begin_asking(l);
	return end_asking(l, conn_command(l->conn, sql, err), err);
}

/* Asks SQL, with PARAM as its $1 unless that is NULL. */
static int ask(struct db_listener *l, const char *sql, const struct buf *param, PGresult **res,
	       struct db_error *err) {
	struct db_param value = { 0 };
	struct conn_work work = { .sql = sql, .params = &value, .out = res };
	if (param != NULL) {
		value = (struct db_param){ .data = param->data, .len = param->len };
		work.n = 1;
	}
	begin_asking(l);
	return end_asking(l, conn_run(l->conn, &work, err), err);
}

/* Connects, listens, asks what is to be known from the start, and says so. */
static int connect_and_listen(struct db_listener *l, struct db_error *err) {
	AUTO_RESULT PGresult *first = NULL;
	bool final;
	int rc = session_open(&l->cfg, l->stop_fd, 0, NULL, &l->conn, &final, err);
	if (rc == 0)
		rc = send_command(l, l->command, err);
	if (rc == 0)
		rc = ask(l, l->job->first, NULL, &first, err);
	if (rc == 0) {
		l->job->up(l->arg, first);
		return 0;
	}
	conn_close(l->conn);
	l->conn = NULL;
	return rc;
}

/* Tells all notices that have arrived. */
static void tell(struct db_listener *l) {
	PGnotify *n;
	while ((n = PQnotifies(l->conn->pg)) != NULL) {
		l->job->notice(l->arg, n->relname, n->extra);
		PQfreemem(n);
	}
}

/* What is asked now and then: the job's question, or whether the server is there. */
static int ask_again(struct db_listener *l, struct db_error *err) {
	AUTO_BUF struct buf param = { 0 };
	AUTO_RESULT PGresult *res = NULL;
	if (!l->job->wants(l->arg))
		return send_command(l, l->command, err); /* as good a question as any */
	const char *question = l->job->put_question(l->arg, &param);
	if (param.failed)
		return 0;
	int rc = ask(l, question, param.len > 0 ? &param : NULL, &res, err);
	tell(l); /* what came before the answer */
	if (rc == 0)
		l->job->answer(l->arg, res);
	return rc;
}

/* Waits for the server until DUE_US. Returns false at the end. */
static bool listen_until(struct db_listener *l, int64_t due_us) {
	short revents;
	switch (wait_for(PQsocket(l->conn->pg), POLLIN, -1, l->stop_fd, due_us, &revents)) {
	case WAIT_READY:
		if (!PQconsumeInput(l->conn->pg))
			conn_lose(l->conn);
		return true;
	case WAIT_TIMEOUT:
		return true;
	default:
		return false;
	}
}

/* Until the connection is lost (-errno with ERR filled) or the end (0). */
static int serve(struct db_listener *l, struct db_error *err) {
	int64_t asked = clock_us();
	int rc = 0;
	while (rc == 0) {
		tell(l);
		if (conn_is_dead(l->conn))
			return db_error_set(err, EIO, "%s", PQerrorMessage(l->conn->pg));
		int pause_ms = l->job->wants(l->arg) ? l->job->every_ms : ASK_S * 1000;
		int64_t due = asked + (int64_t)pause_ms * US_PER_MS;
		if (clock_us() < due) {
			if (!listen_until(l, due))
				return 0;
			continue;
		}
		rc = ask_again(l, err);
		asked = clock_us();
	}
	return rc;
}

/* Waits PAUSE milliseconds. Returns false at the end. */
static bool pause_ms(const struct db_listener *l, int pause) {
	short revents;
	return wait_for(-1, 0, -1, l->stop_fd, deadline_after_ms(pause), &revents) != WAIT_STOP;
}

/* Connects again. Returns false at the end. */
static bool reconnect(struct db_listener *l) {
	for (int pause = PAUSE_MIN_MS;;
	     pause = pause < PAUSE_MAX_MS / 2 ? pause * 2 : PAUSE_MAX_MS) {
		AUTO_DB_ERROR struct db_error err = { 0 };
		if (!pause_ms(l, pause))
			return false;
		if (connect_and_listen(l, &err) == 0)
			return true;
		log_debug("listening: %s", err.sentence != NULL ? err.sentence : "failed");
	}
}

static void *listener_main(void *arg) {
	struct db_listener *l = arg;
	for (;;) {
		AUTO_DB_ERROR struct db_error err = { 0 };
		if (serve(l, &err) == 0)
			return NULL;
		const char *why = err.sentence != NULL ? err.sentence : "connection lost";
		log_warning("listening for changes: %s", why);
		l->job->down(l->arg, why);
		conn_close(l->conn);
		l->conn = NULL;
		if (!reconnect(l))
			return NULL;
		log_info("listening for changes again");
	}
}

int db_listen_start(const struct db_config *cfg, const struct db_listen_job *job, void *arg,
		    struct db_listener **out, struct db_error *err) {
	struct db_listener *l = new_listener(cfg, job, arg);
	if (l == NULL)
		return db_error_set(err, ENOMEM, "out of memory");
	int rc = connect_and_listen(l, err);
	if (rc != 0) {
		free_listener(l);
		return rc;
	}
	if (thread_start(&l->thread, listener_main, l) != 0) {
		free_listener(l);
		return db_error_set(err, EAGAIN, "no thread to listen with");
	}
	*out = l;
	return 0;
}

void db_listen_stop(struct db_listener *l) {
	if (l == NULL)
		return;
	if (eventfd_write(l->stop_fd, 1) != 0)
		log_error("BUG: eventfd: %s", strerror(errno));
	pthread_join(l->thread, NULL);
	free_listener(l);
}
