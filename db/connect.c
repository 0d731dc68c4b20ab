#include "db/connect.h"

#include "db/wait.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/secret.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

enum {
	OLDEST_SERVER = 140000,
	TCP_LEAST_MS = 2000, /* a packet or two may be lost */
};
#define DB_NEWS_STATE "RF001" /* of rowfs.send_notice() */

/* What PQconninfo() says of a connection that is being made. */
struct target {
	int hosts;      /* how many are named */
	int timeout_s;  /* for one of them */
	char *password; /* owned; NULL if none */
};

static int count_hosts(const char *list) {
	int n = 1;
	for (; list != NULL && *list != '\0'; list++)
		n += *list == ',';
	return n;
}

static void target_read(struct db_conn *c, struct target *t) {
	PQconninfoOption *all = PQconninfo(c->pg);

	*t = (struct target){ .hosts = 1, .timeout_s = c->cfg->connect_timeout_s };
	for (PQconninfoOption *o = all; o != NULL && o->keyword != NULL; o++) {
		if (o->val == NULL || o->val[0] == '\0')
			continue;
		if (strcmp(o->keyword, "host") == 0 || strcmp(o->keyword, "hostaddr") == 0)
			t->hosts = count_hosts(o->val);
		else if (strcmp(o->keyword, "connect_timeout") == 0 && strtol(o->val, NULL, 10) > 0)
			t->timeout_s = (int)strtol(o->val, NULL, 10);
		else if (strcmp(o->keyword, "password") == 0)
			t->password = strdup(o->val);
		if (strstr(o->keyword, "password") != NULL)
			secret_wipe(o->val);
	}
	PQconninfoFree(all);
}

static bool is_conninfo(const char *s) {
	return strchr(s, '=') != NULL || strncmp(s, "postgres://", 11) == 0 ||
	       strncmp(s, "postgresql://", 13) == 0;
}

int conninfo_check(const char *conninfo, struct db_error *err) {
	char *text = NULL;

	if (conninfo == NULL || !is_conninfo(conninfo))
		return 0;
	PQconninfoOption *options = PQconninfoParse(conninfo, &text);
	if (options != NULL) {
		PQconninfoFree(options);
		return 0;
	}
	/* libpq quotes what it does not understand, and that may be the password: keep what comes
	 * before the quote. */
	int len = text != NULL ? (int)strcspn(text, "\"\n") : 0;
	int rc = db_error_set(err, EINVAL, "the connection string cannot be read: %.*s(...)", len,
			      text != NULL ? text : "");
	PQfreemem(text);
	return rc;
}

/* Appends TEXT without any occurrence of SECRET. */
static void add_scrubbed(struct buf *out, const char *text, const char *secret) {
	/* A secret of one or two letters cannot be told from ordinary text; libpq does not print
	 * it. */
	size_t len = secret != NULL ? strlen(secret) : 0;
	const char *hit;
	while (len > 2 && (hit = strstr(text, secret)) != NULL) {
		buf_add(out, text, (size_t)(hit - text));
		buf_puts(out, "***");
		text = hit + len;
	}
	buf_puts(out, text);
}

/* Finds "  XXXXX: " as verbose messages have it after the severity, in any language. Returns the
 * X. */
static const char *find_sqlstate(const char *text) {
	for (const char *p = strstr(text, ":  "); p != NULL; p = strstr(p + 1, ":  ")) {
		int n = 0;
		while (n < 5 &&
		       (isdigit((unsigned char)p[3 + n]) || isupper((unsigned char)p[3 + n])))
			n++;
		if (n == 5 && p[8] == ':' && p[9] == ' ')
			return p + 3;
	}
	return NULL;
}

/* "LOCATION:  auth_failed, auth.c:326": what the verbose form adds for the server's own
 * developers. */
static bool is_location(const char *line, size_t len) {
	size_t end = len;
	while (end > 0 && isdigit((unsigned char)line[end - 1]))
		end--;
	return end < len && end >= 3 && memcmp(line + end - 3, ".c:", 3) == 0;
}

/* Makes a sentence of libpq's verbose text about a failed attempt; STATE gets the last SQLSTATE. */
static void clean_message(struct buf *out, const char *text, char state[6]) {
	while (*text != '\0') {
		size_t len = strcspn(text, "\n");
		AUTO_FREE char *line = strndup(text, len);
		const char *found = line != NULL ? find_sqlstate(line) : NULL;
		if (found != NULL) {
			snprintf(state, 6, "%s", found);
			buf_add(out, line, (size_t)(found - line));
			buf_puts(out, found + 7);
			buf_putc(out, ' ');
		} else if (!is_location(text, len)) {
			buf_add(out, text, len);
			buf_putc(out, ' ');
		}
		text += len + (text[len] == '\n');
	}
}

/* Trying again cannot help: wrong user, password or database. With several hosts it may. */
static bool is_final(const struct target *t, const char *state) {
	return t->hosts == 1 && (strncmp(state, "28", 2) == 0 || strcmp(state, "3D000") == 0 ||
				 strcmp(state, "42501") == 0);
}

static int connect_failed(struct db_conn *c, const struct target *t, bool *final,
			  struct db_error *err) {
	AUTO_BUF struct buf clean = { 0 }, text = { 0 };
	char state[6] = "";

	clean_message(&clean, PQerrorMessage(c->pg), state);
	add_scrubbed(&text, clean.data != NULL ? clean.data : "", t->password);
	bool no_password = PQconnectionNeedsPassword(c->pg) && t->hosts == 1;
	*final = no_password || is_final(t, state);
	int errnum = no_password ? EACCES : db_errno_of_sqlstate(state);
	int rc = db_error_set(err, *final ? errnum : EIO, "cannot connect to the database: %s",
			      text.data != NULL ? text.data : "");
	memcpy(err->sqlstate, state, sizeof(err->sqlstate));
	return rc;
}

/* Starts connecting: our defaults, then the user's conninfo, then what must be so. */
static PGconn *start(const struct db_config *cfg, int allowed_ms) {
	char timeout_ms[16];
	int s = cfg->connect_timeout_s > 0 && cfg->connect_timeout_s < 15 ? cfg->connect_timeout_s
									  : 15;
	int ms = s * 1000;
	if (allowed_ms > 0 && ms > allowed_ms / 2)
		ms = allowed_ms / 2; /* there may be a second host */

	/* A dead network is noticed by unanswered bytes (tcp_user_timeout, also of the connection's
	 * first packet, so that the next host gets its turn) or by silence (keepalives). */
	snprintf(timeout_ms, sizeof(timeout_ms), "%d", ms < TCP_LEAST_MS ? TCP_LEAST_MS : ms);
	const char *const keys[] = { "fallback_application_name", "keepalives_idle",
				     "keepalives_interval",       "keepalives_count",
				     "tcp_user_timeout",          "dbname",
				     "client_encoding",           NULL };
	const char *const values[] = { "rowfs",    "30",
				       "10",       "3",
				       timeout_ms, cfg->conninfo != NULL ? cfg->conninfo : "",
				       "UTF8",     NULL };
	return PQconnectStartParams(keys, values, 1);
}

/* Over TCP without encryption, whoever is in between can read and change everything, and a
 * server that is not the one that was meant gets the password. libpq's default (sslmode=prefer)
 * says nothing of it. Said once for a process. */
static void warn_of_clear_text(const struct db_conn *c) {
	static atomic_bool warned;
	if (!conn_is_remote(c) || PQsslInUse(c->pg) || PQgssEncInUse(c->pg) ||
	    atomic_exchange(&warned, true))
		return;
	log_warning(
		"the connection to %s is not encrypted, and nobody has checked whose it is: add "
		"sslmode=verify-full to the connection string",
		PQhost(c->pg));
}

static int connect_loop(struct db_conn *c, const struct target *t, int allowed_ms, bool *final,
			struct db_error *err) {
	int limit_ms = t->timeout_s * 1000 * t->hosts;
	if (allowed_ms > 0 && allowed_ms < limit_ms)
		limit_ms = allowed_ms;
	int64_t deadline = deadline_after_ms(limit_ms);
	PostgresPollingStatusType polling = PGRES_POLLING_WRITING;

	while (PQstatus(c->pg) != CONNECTION_BAD && polling != PGRES_POLLING_OK &&
	       polling != PGRES_POLLING_FAILED) {
		short events = polling == PGRES_POLLING_READING ? POLLIN : POLLOUT, revents;
		switch (wait_for(PQsocket(c->pg), events, c->wake_fd, c->stop_fd, deadline,
				 &revents)) {
		case WAIT_READY:
			polling = PQconnectPoll(c->pg);
			break;
		case WAIT_CANCEL:
			return db_error_set(err, EINTR, "interrupted while connecting");
		case WAIT_STOP:
			return db_error_set(err, EIO, "the file system is being unmounted");
		case WAIT_TIMEOUT:
			return db_error_set(err, EIO,
					    "cannot connect to the database: no answer from %s "
					    "within %g s",
					    PQhost(c->pg), limit_ms / 1000.0);
		}
	}
	if (polling != PGRES_POLLING_OK)
		return connect_failed(c, t, final, err);
	if (PQserverVersion(c->pg) < OLDEST_SERVER) {
		*final = true;
		return db_error_set(err, EOPNOTSUPP,
				    "the server is PostgreSQL %d, and 14 or later is needed",
				    PQserverVersion(c->pg) / 10000);
	}
	warn_of_clear_text(c);
	return 0;
}

static void note_notice(void *arg, const PGresult *res) {
	struct db_conn *c = arg;
	const char *severity = PQresultErrorField(res, PG_DIAG_SEVERITY_NONLOCALIZED);
	const char *message = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
	const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);

	if (state != NULL && strcmp(state, DB_NEWS_STATE) == 0 && message != NULL) {
		buf_add(&c->news, message, strlen(message) + 1);
		return;
	}
	/* What the server says to an idle session as it ends it arrives as a notice. */
	if (severity != NULL && (strcmp(severity, "FATAL") == 0 || strcmp(severity, "PANIC") == 0))
		conn_lose(c);
	log_debug("server: %s: %s", severity != NULL ? severity : "notice",
		  message != NULL ? message : "");
}

int connect_session(struct db_conn *c, int allowed_ms, bool *final, struct db_error *err) {
	struct target t;

	*final = false;
	c->pg = start(c->cfg, allowed_ms);
	if (c->pg == NULL)
		return db_error_set(err, ENOMEM, "out of memory");
	/* The only way to get the SQLSTATE of a refused connection is to have it in the text. */
	PQsetErrorVerbosity(c->pg, PQERRORS_VERBOSE);
	PQsetNoticeReceiver(c->pg, note_notice, c);
	target_read(c, &t);
	int rc = connect_loop(c, &t, allowed_ms, final, err);
	secret_free(t.password);
	if (rc < 0)
		return rc;
	PQsetErrorVerbosity(c->pg, PQERRORS_DEFAULT);
	if (PQsetnonblocking(c->pg, 1) != 0)
		return db_error_set(err, EIO, "cannot make the connection non-blocking");
	if (c->state == CONN_DEAD) /* it said so while we connected: see note_notice() */
		return db_error_set(err, EIO, "the server has ended the new connection at once");
	conn_move(c, CONN_ON_CONNECT);
	return 0;
}
