/* COPY, both ways. Each COPY has a pooled connection for itself while it lasts. One thread at a time uses a copy; different
 * copies are independent. Nothing here repeats anything: who feeds a COPY keeps what he fed until it is committed, and repeats it
 * with db_transaction() and db_copy_on(). */
#ifndef ROWFS_DB_COPY_H
#define ROWFS_DB_COPY_H

#include "db/query.h"

/* -- in: a transaction that begins with a COPY ------------------------------------------------- */

struct db_copy_in;

/* Opens a transaction, runs SETUP (statements without parameters, or NULL) and starts SQL, a COPY ... FROM STDIN; in one round
 * trip. On success *OUT is to be ended with db_copy_in_finish() or db_copy_in_abort(). Returns 0 or -errno. */
MUST_USE int db_copy_in_begin(struct db_pool *pool, const char *setup, const char *sql,
			      struct db_copy_in **out, struct db_error *err);

/* Sends LEN bytes. Waits while the server does not keep up. An error of the server may show here or only at the end. */
MUST_USE int db_copy_in_put(struct db_copy_in *copy, const char *data, size_t len,
			    struct db_error *err);

/* Ends the data, runs FN (may be NULL) with ARG on the same connection, and commits. *ROWS (may be NULL) is how many rows COPY says
 * it took. Frees COPY in any case. On failure everything is rolled back, unless err->in_doubt is set: then the COMMIT was sent and
 * got no answer. err->retryable says that the connection was lost or the server asks for a repetition (class 40). */
MUST_USE int db_copy_in_finish(struct db_copy_in *copy, db_tx_fn fn, void *arg, long long *rows,
			       struct db_error *err);

/* Rolls back and frees. NULL is fine. Does not wait for a server that is busy: the connection is dropped then. */
void db_copy_in_abort(struct db_copy_in *copy);

/* COPY ... FROM STDIN inside a db_tx_fn: all of DATA at once. *ROWS as above. */
MUST_USE int db_copy_on(struct db_conn *conn, const char *sql, const char *data, size_t len,
			long long *rows, struct db_error *err);

/* -- out --------------------------------------------------------------------------------------- */

struct db_copy_out;

/* Starts SQL, a COPY (SELECT ...) TO STDOUT. COPY takes no parameters: the N texts of KEYS are put into the session's settings
 * rowfs.k1, rowfs.k2 ... (as parameters of set_config()), and SQL reads them with current_setting(). CANCEL (may be NULL) must live
 * until db_copy_out_detach() or the end. Only the start is repeated after a lost connection. Returns 0 or -errno. */
MUST_USE int db_copy_out_begin(struct db_pool *pool, const struct db_param *keys, int n,
			       const char *sql, struct db_cancel *cancel, struct db_copy_out **out,
			       struct db_error *err);

/* The next row with its line end: *DATA is borrowed until the next call. Returns 1, 0 at the end, or -errno. */
MUST_USE int db_copy_out_next(struct db_copy_out *copy, const char **data, size_t *len,
			      struct db_error *err);

/* For each call that goes on reading: whose interrupt counts from now on; NULL: nobody's. */
void db_copy_out_attach(struct db_copy_out *copy, struct db_cancel *cancel);

/* Ends it, at any point, and gives the connection back (or drops it, if it cannot be made idle at once). NULL is fine. */
void db_copy_out_end(struct db_copy_out *copy);

#endif
