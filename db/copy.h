/* COPY, both ways. Each COPY has a pooled connection for itself while it lasts. One thread at a
 * time uses a copy; different copies are independent. Only the start is repeated after a lost
 * connection: who feeds a COPY keeps what he fed until it is committed, and repeats it with
 * db_transaction() and db_copy_on(). A pause between two calls may last as long as it likes: no
 * time-out of the server counts it. */
#pragma once

#include "db/query.h"

/* -- in: a transaction that begins with a COPY ------------------------------------------------- */

struct db_copy_in;

/* Opens a transaction, runs SETUP (statements without parameters, no semicolon at the end; or
 * NULL) and starts SQL, a "COPY name ... FROM STDIN" (nothing stands before the word COPY: the
 * name is how err->copy_line is found); in one round trip. Repeated within the pool's retry
 * budget. On success *OUT is to be ended with db_copy_in_finish() or db_copy_in_abort(). Returns
 * 0 or -errno. */
MUST_USE int db_copy_in_begin(struct db_pool *pool, const char *setup, const char *sql,
			      struct db_copy_in **out, struct db_error *err);

/* Sends LEN bytes; a piece may end anywhere. Copies them, and waits only when the server is some
 * 256 KiB behind, at most command_timeout. An error of the server about the data shows at the end;
 * a lost connection may show here. After a failure only db_copy_in_abort() or db_copy_in_finish(),
 * which then fails alike, make sense. Returns 0 or -errno. */
MUST_USE int db_copy_in_put(struct db_copy_in *copy, const char *data, size_t len,
			    struct db_error *err);

/* Ends the data, runs FN (may be NULL) with ARG on the same connection, and commits, all within
 * transaction_timeout. FN runs once. *ROWS (may be NULL) is how many rows COPY says it took. Frees
 * COPY in any case. On failure everything is rolled back, unless err->in_doubt is set: then the
 * COMMIT was sent and got no answer. err->retryable says that the connection was lost or the server
 * asks for a repetition (class 40); err->copy_line where the data was refused, if the server says
 * it (it does not for deferred checks). */
MUST_USE int db_copy_in_finish(struct db_copy_in *copy, db_tx_fn fn, void *arg, long long *rows,
			       struct db_error *err);

/* Rolls back and frees. NULL is fine. Does not wait for a server that is busy: the connection is
 * dropped then. */
void db_copy_in_abort(struct db_copy_in *copy);

/* "COPY name ... FROM STDIN" inside a db_tx_fn: all of DATA at once. *ROWS as above. After a
 * failure the transaction has failed, unless a savepoint was set before it. Returns 0 or -errno. */
MUST_USE int db_copy_on(struct db_conn *conn, const char *sql, const char *data, size_t len,
			long long *rows, struct db_error *err);

/* -- out --------------------------------------------------------------------------------------- */

struct db_copy_out;

/* Starts SQL, a COPY (SELECT ...) TO STDOUT. COPY takes no parameters: the N texts of KEYS are put
 * into the session's settings rowfs.k1, rowfs.k2 ... (as parameters of set_config()), and SQL reads
 * them with current_setting(). CANCEL (may be NULL) stays attached: it must live until the next
 * db_copy_out_attach() or the end. Returns 0 or -errno. */
MUST_USE int db_copy_out_begin(struct db_pool *pool, const struct db_param *keys, int n,
			       const char *sql, struct db_cancel *cancel, struct db_copy_out **out,
			       struct db_error *err);

/* The next row with its line end: *DATA is borrowed until the next call. Returns 1, 0 at the end,
 * or -errno. After -EINTR (the cancel was fired while it waited) nothing is lost: the next call
 * goes on. Any other failure is final. */
MUST_USE int db_copy_out_next(struct db_copy_out *copy, const char **data, size_t *len,
			      struct db_error *err);

/* Whose interrupt counts from now on; NULL: nobody's. To be called at the start and at the end of
 * each request that reads. */
void db_copy_out_attach(struct db_copy_out *copy, struct db_cancel *cancel);

/* Ends it, at any point, and gives the connection back (or drops it, if the server does not
 * stop within some tenths of a second). NULL is fine. */
void db_copy_out_end(struct db_copy_out *copy);
