#include "db/transaction.h"

#include "db/retry.h"
#include "db/run.h"
#include "util/clock.h"

#include <errno.h>
#include <string.h>

static int run_on(struct db_conn *conn, const struct conn_work *w, struct db_error *err) {
	if (conn_is_dead(conn))
		return db_error_set(err, EIO, "the connection to the database was lost");
	if (conn_run(conn, w, err) == CONN_DONE)
		return 0;
	return -err->errnum;
}

int db_query_on(struct db_conn *conn, const char *sql, const struct db_param *params, int n,
		PGresult **out, struct db_error *err) {
	const struct conn_work w = { .sql = sql, .params = params, .n = n, .out = out };
	return run_on(conn, &w, err);
}

int db_query_binary_on(struct db_conn *conn, const char *sql, const struct db_param *params, int n,
		       PGresult **out, struct db_error *err) {
	const struct conn_work w = {
		.sql = sql, .params = params, .n = n, .flags = DB_BINARY, .out = out
	};
	return run_on(conn, &w, err);
}

int db_backend_on(const struct db_conn *conn) {
	return PQbackendPID(conn->pg);
}

static enum conn_end commit(struct db_conn *c, struct db_error *err) {
	AUTO_RESULT PGresult *res = NULL;
	const struct conn_work w = { .sql = "COMMIT", .out = &res };
	enum conn_end end = conn_run(c, &w, err);

	if (end != CONN_DONE || strcmp(PQcmdStatus(res), "COMMIT") == 0)
		return end;
	/* The server answers COMMIT with ROLLBACK, and no error, where a statement had failed. */
	db_error_set(err, EIO, "the transaction had failed and was rolled back");
	return CONN_FAILED;
}

enum conn_end transaction_before_commit(enum conn_end end) {
	return end == CONN_LOST_SENT ? CONN_LOST : end == CONN_STOPPED ? CONN_FAILED : end;
}

enum conn_end transaction_finish(struct db_conn *c, db_tx_fn fn, void *arg, struct db_error *err) {
	int rc = fn != NULL ? fn(c, arg, err) : 0;
	if (rc == 0 && !conn_is_dead(c))
		return commit(c, err);
	if (rc == 0)
		db_error_set(err, EIO, "the connection to the database was lost");
	else if (err->errnum == 0)
		db_error_set(err, -rc, "%s", strerror(-rc));
	enum conn_end end = transaction_before_commit(c->failed_end);
	/* No statement told it: lost between two of them, also behind one that had failed and was
	 * undone with its part; or FN gave up by itself. */
	if (end == CONN_DONE || (end == CONN_FAILED && conn_is_dead(c)))
		end = conn_is_dead(c) ? CONN_LOST : CONN_FAILED;
	return end;
}

struct transaction {
	db_tx_fn fn;
	void *arg;
};

static enum conn_end transact_once(struct db_conn *c, void *arg, struct db_error *err) {
	const struct transaction *t = arg;
	c->deadline_us = deadline_after_ms(c->cfg->transaction_timeout_ms);
	enum conn_end end = transaction_before_commit(conn_command(c, "BEGIN", err));
	if (end == CONN_DONE)
		end = transaction_finish(c, t->fn, t->arg, err);
	c->deadline_us = NEVER_US;
	return end;
}

int db_transaction(struct db_pool *pool, db_tx_fn fn, void *arg, unsigned flags,
		   struct db_cancel *cancel, struct db_error *err) {
	struct retry r = { .pool = pool, .cancel = cancel, .flags = flags };
	struct transaction t = { .fn = fn, .arg = arg };
	return retry_run(&r, transact_once, &t, NULL, err);
}

/* -- within a transaction ---------------------------------------------------------------------- */

static int command(struct db_conn *conn, const char *sql, struct db_error *err) {
	return db_query_on(conn, sql, NULL, 0, NULL, err);
}

int db_part_on(struct db_conn *conn, db_tx_fn fn, void *arg, struct db_error *err) {
	AUTO_DB_ERROR struct db_error failure = { 0 };
	int rc = command(conn, "SAVEPOINT part", err);
	if (rc != 0)
		return rc;
	rc = fn(conn, arg, err);
	if (rc == 0)
		return command(conn, "RELEASE part", err);
	if (err->retryable || err->in_doubt || conn_is_dead(conn))
		return rc; /* nothing of it can go on */
	/* released, too: savepoints of one name pile up */
	if (conn_command(conn, "ROLLBACK TO part; RELEASE part", &failure) == CONN_DONE)
		return rc;
	db_error_clear(err);
	db_error_copy(err, &failure);
	return err->errnum != 0 ? -err->errnum : -EIO;
}

int db_defer_constraints_on(struct db_conn *conn, struct db_error *err) {
	return command(conn, "SET CONSTRAINTS ALL DEFERRED", err);
}

int db_check_constraints_on(struct db_conn *conn, struct db_error *err) {
	return command(conn, "SET CONSTRAINTS ALL IMMEDIATE", err);
}
