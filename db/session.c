#include "db/session.h"

#include "db/connect.h"
#include "db/quote.h"
#include "db/run.h"
#include "util/clock.h"

#include <errno.h>
#include <string.h>

/* In front of what the role has, unless a pooler hands us a session that has it already. */
static void add_search_path(struct buf *sql, const char *path) {
	AUTO_BUF struct buf ident = { 0 };
	db_quote_ident(&ident, path);
	buf_puts(sql,
		 "SELECT pg_catalog.set_config('search_path', pg_catalog.concat_ws(', ', p.mine, "
		 "nullif(pg_catalog.current_setting('search_path'), '')), false) FROM (SELECT ");
	db_quote_literal(sql, ident.data);
	buf_puts(
		sql,
		"::text AS mine) p WHERE NOT pg_catalog.starts_with(pg_catalog.current_setting('search_path'), p.mine);");
}

/* Rendered text depends on these (see docs); the server enforces the time-outs even if we hang. */
static void add_settings(struct buf *sql, const struct db_config *cfg) {
	buf_puts(sql,
		 "SET TimeZone = 'UTC'; SET DateStyle = 'ISO, YMD'; SET IntervalStyle = 'postgres';"
		 "SET extra_float_digits = 1; SET bytea_output = 'hex';"
		 "SET standard_conforming_strings = on;"
		 /* It costs more than any of our statements runs: they are short, whatever a large
		  * table makes the planner think. */
		 "SET jit = off;");
	buf_printf(sql, "SET statement_timeout = %d; SET idle_in_transaction_session_timeout = %d;",
		   cfg->command_timeout_ms, cfg->transaction_timeout_ms);
	/* A server must find out, too, that our machine or the network is gone: until then others
	 * wait for what the session holds. As in start(); nothing happens where the connection is
	 * none of TCP. */
	buf_puts(sql, "SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10;"
		      "SET tcp_keepalives_count = 3; SET tcp_user_timeout = '60s';");
	/* A backend whose client is dead ends within this time, even in the middle of a statement:
	 * it may hold locks. Not every system can tell the server so. */
	buf_puts(sql,
		 "SELECT pg_catalog.set_config('client_connection_check_interval', '1s', false) "
		 "WHERE pg_catalog.current_setting('client_connection_check_interval') = '0' "
		 "AND pg_catalog.version() LIKE '%linux%';");
	if (cfg->isolation_level != NULL && cfg->isolation_level[0] != '\0') {
		buf_puts(sql, "SET default_transaction_isolation = ");
		db_quote_literal(sql, cfg->isolation_level);
		buf_puts(sql, ";");
	}
	/* another thread may just set them */
	const char *mark = __atomic_load_n(&cfg->mark, __ATOMIC_ACQUIRE);
	const char *greeting = __atomic_load_n(&cfg->greeting, __ATOMIC_ACQUIRE);
	if (mark != NULL) {
		buf_puts(sql, "SET rowfs.mount = ");
		db_quote_literal(sql, mark);
		buf_puts(sql, ";");
	}
	if (greeting != NULL) {
		buf_puts(sql, greeting);
		buf_puts(sql, ";");
	}
	if (cfg->search_path != NULL && cfg->search_path[0] != '\0')
		add_search_path(sql, cfg->search_path);
	/* the answer: see note_level() */
	buf_puts(sql, "SELECT pg_catalog.current_setting('default_transaction_isolation')");
}

static void note_level(struct db_conn *c, const PGresult *res) {
	const char *level = PQntuples(res) == 1 ? PQgetvalue(res, 0, 0) : "";
	c->one_snapshot =
		strcmp(level, "repeatable read") == 0 || strcmp(level, "serializable") == 0;
}

static int session_setup(struct db_conn *c, int64_t until_us, bool *final, struct db_error *err) {
	AUTO_BUF struct buf sql = { 0 };
	AUTO_DB_ERROR struct db_error why = { 0 };
	AUTO_RESULT PGresult *res = NULL;

	add_settings(&sql, c->cfg);
	if (sql.failed)
		return db_error_set(err, ENOMEM, "out of memory");
	c->deadline_us = deadline_after_ms(c->cfg->connect_timeout_s * 1000);
	if (until_us < c->deadline_us)
		c->deadline_us = until_us;
	enum conn_end end = conn_script(c, sql.data, &res, &why);
	c->deadline_us = NEVER_US;
	if (end == CONN_DONE) {
		note_level(c, res);
		return 0;
	}
	*final = end == CONN_FAILED;
	int rc = db_error_set(err, why.errnum, "cannot set up the session: %s", why.sentence);
	/* A server that ends just as we come: db_pool_new() need not call it a mistake. */
	bool lost = why.sqlstate[0] == '\0' && end != CONN_STOPPED;
	memcpy(err->sqlstate, lost ? "08006" : why.sqlstate, sizeof(err->sqlstate));
	return rc;
}

int session_open(const struct db_config *cfg, int stop_fd, int allowed_ms, struct db_cancel *cancel,
		 struct db_conn **out, bool *final, struct db_error *err) {
	*final = false;
	struct db_conn *c = conn_new(cfg, stop_fd);
	if (c == NULL)
		return db_error_set(err, errno == 0 ? ENOMEM : errno,
				    "cannot make a connection: %s", strerror(errno));
	int64_t until_us = deadline_after_ms(allowed_ms);
	conn_attach(c, cancel);
	int rc = cancel_fired(cancel) ? db_error_set(err, EINTR, "interrupted")
				      : connect_session(c, allowed_ms, final, err);
	if (rc == 0)
		rc = session_setup(c, until_us, final, err);
	conn_detach(c);
	if (rc < 0) {
		conn_close(c);
		return rc;
	}
	c->reused = false;
	memset(&c->counts, 0, sizeof(c->counts));
	*out = c;
	return 0;
}
