/* A bounded pool of PostgreSQL connections.
 *
 * Idle connections are one LIFO list (the warm one is used first). A connection is checked out for
 * the length of one statement or transaction and belongs to its borrower meanwhile. After a failed
 * attempt to connect, one attempt at a time is made, with growing, jittered pauses; everybody else
 * who waits is told the failure's text when his own budget ends. Thread-safe throughout. */
#pragma once

#include "db/cancel.h"
#include "db/config.h"
#include "db/error.h"
#include "util/cleanup.h"

#include <stdint.h>

struct db_pool;
struct db_conn;

/* Counters since start or since the last reset; a copy, taken under the lock. */
struct db_stats {
	int open, idle, waiting;             /* connections, connections, threads; now */
	uint64_t connects, connect_failures; /* attempts */
	uint64_t queries, query_errors, retries, timeouts, cancels;
	uint64_t query_us; /* time spent in statements, microseconds */
	uint64_t slow_queries;
};

/* Makes a pool; copies CFG and its strings, but for the conninfo. Opens min_connections, so that
 * a wrong conninfo is told at once: ERR then says why, password scrubbed. Returns 0 or -errno.
 * The pool is freed by db_pool_free(), when no call on it is under way. */
MUST_USE int db_pool_new(const struct db_config *cfg, struct db_pool **out, struct db_error *err);
void db_pool_free(struct db_pool *pool);

/* From now on every session has MARK as its setting rowfs.mount, so that triggers of rowfs answer
 * to it instead of sending notices, and begins with GREETING (trusted SQL). What they say comes
 * back as the news of a call (struct db_news). Idle connections are closed, and those that are lent
 * when they are given back. At most once. Thread-safe. Returns 0 or -ENOMEM. */
MUST_USE int db_pool_mark(struct db_pool *pool, const char *mark, const char *greeting);

void db_pool_stats(struct db_pool *pool, struct db_stats *out);
void db_pool_reset_stats(struct db_pool *pool);

/* Server version as PQserverVersion() gives it (150018), from the last connection made. */
int db_pool_server_version(struct db_pool *pool);

/* True if a transaction sees only what was committed before its first statement: the option
 * isolation_level, or else the database's or the role's default, is above read committed. From the
 * last connection made. */
bool db_pool_one_snapshot(struct db_pool *pool);

/* True if the last use of the database worked; otherwise the text of the last failure is copied
 * into TEXT (at most LEN bytes with the NUL). */
bool db_pool_healthy(struct db_pool *pool, char *text, size_t len);
