/* The one place that sends SQL. Statements are prepared once per connection, by identity of their
 * `struct db_statement`; parameters are text or bytea; results are text. Lost connections are
 * replaced and the statement sent again within the retry budget, where its flags say that this is
 * safe. */
#pragma once

#include "db/error.h"
#include "db/pool.h"
#include "db/statement.h"

/* Runs ST with N parameters. On success *OUT (may be NULL if not wanted) is the result, owned by
 * the caller (PQclear), and 0 is returned. On failure ERR is filled and -errno returned:
 * - connection lost before the statement was sent: always retried within the budget;
 * - lost afterwards: retried with DB_REPEATABLE; otherwise -EIO with err->in_doubt; a retry after
 *   an in-doubt attempt sets err->in_doubt on whatever error follows (a unique violation may be our
 *   own commit);
 * - serialization failure or deadlock (class 40): repeated, it was rolled back; in the end -EBUSY;
 * - cancelled by CANCEL (may be NULL): -EINTR; by command_timeout: -ETIMEDOUT (with in_doubt where
 *   the server did not even confirm that);
 * - no connection free for command_timeout: -ETIMEDOUT;
 * - everything else: db_errno_of_sqlstate().
 * Thread-safe. */
MUST_USE int db_query(struct db_pool *pool, struct db_statement *st, const struct db_param *params,
		      int n, unsigned flags, struct db_cancel *cancel, PGresult **out,
		      struct db_error *err);

/* The same for SQL that is made for one use: sent unprepared. */
MUST_USE int db_query_text(struct db_pool *pool, const char *sql, const struct db_param *params,
			   int n, unsigned flags, struct db_cancel *cancel, PGresult **out,
			   struct db_error *err);

/* A statement that only asks whether the server answers. */
extern const char db_health_sql[];

/* What a transaction does, on its own connection, between BEGIN and COMMIT. Returns 0 to commit,
 * -errno (ERR filled) to roll back. May be called again from the start after a lost connection or a
 * serialization failure. */
typedef int (*db_tx_fn)(struct db_conn *conn, void *arg, struct db_error *err);

/* Runs FN in one transaction. Lost before COMMIT was sent: repeated within the budget. Lost after:
 * repeated only with DB_REPEATABLE in FLAGS (FN must find out by itself, from a ledger row of its
 * own, that it is done already), else -EIO with err->in_doubt. Thread-safe. */
MUST_USE int db_transaction(struct db_pool *pool, db_tx_fn fn, void *arg, unsigned flags,
			    struct db_cancel *cancel, struct db_error *err);

/* Runs unprepared SQL on the transaction's connection; for use inside a db_tx_fn only. */
MUST_USE int db_query_on(struct db_conn *conn, const char *sql, const struct db_param *params,
			 int n, PGresult **out, struct db_error *err);

/* The same with results in binary format. */
MUST_USE int db_query_binary_on(struct db_conn *conn, const char *sql,
				const struct db_param *params, int n, PGresult **out,
				struct db_error *err);

/* The process of the server that CONN talks to, as it was told when the connection was made: a
 * pooler in between tells another. */
int db_backend_on(const struct db_conn *conn);

/* Runs FN inside the transaction on CONN, as a part of it. If FN does not return 0, what it did is
 * undone and the transaction may go on, unless the connection is lost or ERR is retryable or in
 * doubt: then it must be given up. Returns what FN returned, or -errno; ERR is filled then. */
MUST_USE int db_part_on(struct db_conn *conn, db_tx_fn fn, void *arg, struct db_error *err);

/* Has constraints that may be deferred checked only at the end of the transaction on CONN, or when
 * db_check_constraints_on() says so. Returns 0, or -errno with ERR filled. */
MUST_USE int db_defer_constraints_on(struct db_conn *conn, struct db_error *err);

/* Has deferred constraints checked by each statement of the transaction on CONN, from here on and
 * for those before. Returns 0, or -errno with ERR filled. */
MUST_USE int db_check_constraints_on(struct db_conn *conn, struct db_error *err);
