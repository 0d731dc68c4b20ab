/* A transaction that stays open between calls, for work that may still be taken back. It has a
 * connection of the pool to itself.
 *
 * Each statement is one round trip. Without savepoints what the server refuses undoes the
 * statements before it, too: the caller runs them again, by db_held_run(), which begins anew. Few
 * are refused, so that is cheaper than a savepoint for each, which takes the server a quarter of a
 * DELETE's time. Where statements are often undone, the caller asks for savepoints
 * (db_held_be_careful()): then what is refused undoes itself only.
 *
 * The transaction is READ COMMITTED, whatever the pool's isolation level is, so that each statement
 * sees what was committed before it; and deferred constraints are checked by each statement, so
 * that COMMIT refuses nothing for them.
 *
 * A transaction is used by one thread at a time. It is *broken* after a lost connection or a
 * deadlock: then it can only be dropped, and nothing of it was committed. */
#pragma once

#include "db/query.h"

#include <stdbool.h>

struct db_held;

/* All statements but the first wait no longer for a lock: what the first ones did must not wait
 * with them. */
enum { HELD_LOCK_MS = 40 };

/* Opens a transaction whose first statement is ST. A lost connection and a deadlock are repeated as
 * by db_query(); what the server refuses is returned, and there is no transaction. On success *HELD
 * is the caller's to end by db_held_commit() or db_held_drop(). OUT as for db_query(). Returns 0,
 * or -errno with ERR filled. */
MUST_USE int db_held_begin(struct db_pool *pool, struct db_statement *st,
			   const struct db_param *params, int n, unsigned flags, PGresult **out,
			   struct db_held **held, struct db_error *err);

/* Runs another statement, the first one again if none stands. Returns 0; or -errno with ERR filled:
 * nothing of it was done. Then db_held_is_broken() says whether the transaction is lost, and if
 * not, db_held_last() which of the statements before it still stand. With SQLSTATE 55P03 it would
 * have waited for a lock. */
MUST_USE int db_held_run(struct db_held *held, struct db_statement *st,
			 const struct db_param *params, int n, unsigned flags, PGresult **out,
			 struct db_error *err);

/* From here on each statement has a savepoint. */
void db_held_be_careful(struct db_held *held);

/* PATIENT: from here on each statement waits for locks as long as any other one does. */
void db_held_be_patient(struct db_held *held, bool patient);

bool db_held_is_broken(const struct db_held *held);

/* The number of the last statement that stands: the first one is 1. 0: none does; there is no
 * transaction until the next one runs. */
int db_held_last(const struct db_held *held);

/* Undoes statement NUMBER and all after it, and if it has no savepoint those before it, too: see
 * db_held_last(). Returns 0, or -errno with ERR filled: then the transaction is broken. */
MUST_USE int db_held_back(struct db_held *held, int number, struct db_error *err);

/* Commits, gives the connection back and frees. Returns 0, or -errno with ERR filled: err->in_doubt
 * tells whether it may have been committed all the same. The news in ERR are those of all its
 * statements: each of them has come back with its statement, too, when it was not committed. */
MUST_USE int db_held_commit(struct db_held *held, struct db_error *err);

/* Rolls back, gives the connection back and frees. NULL is fine. */
void db_held_drop(struct db_held *held);
