#include "db/listen.h"

#include "db/conn.h"
#include "db/wait.h"
#include "util/clock.h"
#include "util/log.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>

enum {
	ASK_S = 5, /* silence after which the server is asked whether it is there */
	PAUSE_MIN_MS =
		50, /* before the first attempt to connect anew; each pause is twice as long as the one before */
	PAUSE_MAX_MS = 5000,
};

struct db_listener {
	struct db_config cfg; /* conninfo is ours */
	char *command;        /* "LISTEN channel" */
	const struct db_listen_events *events;
	void *arg;
	int stop_fd; /* eventfd, readable once it shall end */
	pthread_t thread;
	struct db_conn *conn; /* the thread's own */
};

static void free_listener(struct db_listener *l) {
	conn_close(l->conn);
	if (l->stop_fd >= 0)
		close(l->stop_fd);
	free((char *)l->cfg.conninfo);
	free(l->command);
	free(l);
}

static struct db_listener *new_listener(const struct db_config *cfg, const char *channel) {
	struct db_listener *l = calloc(1, sizeof(*l));
	if (l == NULL)
		return NULL;
	l->cfg = *cfg;
	l->cfg.conninfo = strdup(cfg->conninfo != NULL ? cfg->conninfo : "");
	/* what is the other sessions' is not for this one */
	l->cfg.search_path = l->cfg.isolation_level = l->cfg.mark = NULL;
	l->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (asprintf(&l->command, "LISTEN %s", channel) < 0)
		l->command = NULL;
	if (l->cfg.conninfo == NULL || l->command == NULL || l->stop_fd < 0) {
		free_listener(l);
		return NULL;
	}
	return l;
}

static int send_command(struct db_listener *l, const char *sql, struct db_error *err) {
	l->conn->deadline_us = deadline_after_ms(l->cfg.connect_timeout_s * 1000);
	enum conn_end end = conn_command(l->conn, sql, err);
	l->conn->deadline_us = NEVER_US;
	return end == CONN_DONE ? 0 : -err->errnum;
}

static int connect_and_listen(struct db_listener *l, struct db_error *err) {
	bool final;
	int rc = conn_open(&l->cfg, l->stop_fd, NULL, &l->conn, &final, err);
	if (rc == 0)
		rc = send_command(l, l->command, err);
	if (rc != 0) {
		conn_close(l->conn);
		l->conn = NULL;
	}
	return rc;
}

/* Tells all notices that have arrived. */
static void tell(struct db_listener *l) {
	PGnotify *n;
	while ((n = PQnotifies(l->conn->pg)) != NULL) {
		l->events->notice(l->arg, n->extra);
		PQfreemem(n);
	}
}

/* Until the connection is lost (-errno with ERR filled) or the end (0). */
static int serve(struct db_listener *l, struct db_error *err) {
	int rc = 0;
	while (rc == 0) {
		short revents;
		tell(l);
		switch (wait_for(PQsocket(l->conn->pg), POLLIN, -1, l->stop_fd,
				 deadline_after_ms(ASK_S * 1000), &revents)) {
		case WAIT_READY:
			if (!PQconsumeInput(l->conn->pg) || conn_is_dead(l->conn))
				rc = db_error_set(err, EIO, "%s", PQerrorMessage(l->conn->pg));
			break;
		case WAIT_TIMEOUT:
			rc = send_command(l, l->command, err); /* as good a question as any */
			break;
		default:
			return 0;
		}
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
		l->events->down(l->arg, why);
		conn_close(l->conn);
		l->conn = NULL;
		if (!reconnect(l))
			return NULL;
		log_info("listening for changes again");
		l->events->up(l->arg);
	}
}

int db_listen_start(const struct db_config *cfg, const char *channel,
		    const struct db_listen_events *events, void *arg, struct db_listener **out,
		    struct db_error *err) {
	struct db_listener *l = new_listener(cfg, channel);
	if (l == NULL)
		return db_error_set(err, ENOMEM, "out of memory");
	l->events = events;
	l->arg = arg;
	int rc = connect_and_listen(l, err);
	if (rc != 0) {
		free_listener(l);
		return rc;
	}
	events->up(arg);
	if (pthread_create(&l->thread, NULL, listener_main, l) != 0) {
		free_listener(l);
		return db_error_set(err, EAGAIN, "no thread to listen with");
	}
	*out = l;
	return 0;
}

void db_listen_stop(struct db_listener *l) {
	uint64_t one = 1;
	if (l == NULL)
		return;
	if (write(l->stop_fd, &one, sizeof(one)) < 0)
		log_error("BUG: eventfd: %s", strerror(errno));
	pthread_join(l->thread, NULL);
	free_listener(l);
}
