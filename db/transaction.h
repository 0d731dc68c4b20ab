/* The parts of a transaction that a COPY shares with db_transaction(). Internal to db/. */
#pragma once

#include "db/conn.h"
#include "db/query.h"

/* What END means before COMMIT was sent: nothing can have been committed, so there is no doubt. */
enum conn_end transaction_before_commit(enum conn_end end);

/* Runs FN (may be NULL) in the transaction that is open on C, which conn_mark() began, and commits.
 * On failure ERR is filled; the caller rolls back. */
MUST_USE enum conn_end transaction_finish(struct db_conn *c, db_tx_fn fn, void *arg,
					  struct db_error *err);
