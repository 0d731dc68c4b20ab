/* What one session at a time does to a table's triggers: schema/core/deploy/rowfs_locks.sql. */
#pragma once

#include "db/query.h"

/* Begins the transaction on CONN that makes the triggers of the table TABLE, a parameter: waits
 * until no other session does what NAME says ("watch" or "notice"), for however long, and has
 * the transaction's other statements wait for two seconds at most. Only the owner of the schema
 * rowfs can hold this up: to him belongs the row that is locked. Returns 0 or -errno with ERR
 * filled. */
MUST_USE int mutex_begin(struct db_conn *conn, const char *name, const struct db_param *table,
			 struct db_error *err);
/* Runs FN, which calls mutex_begin(), in a transaction of its own; again, a few times, if a lock
 * was not to be had. Returns 0 or -errno with ERR filled. */
MUST_USE int mutex_transaction(struct db_pool *pool, db_tx_fn fn, void *arg, struct db_error *err);
