/* What the tests of db/ share: pools on the test's own server, one value at a time, threads,
 * waiting for a condition. Needs run-with-postgres. */
#pragma once

#include "db/query.h"
#include "db/quote.h"
#include "tests/unit/check.h"
#include "util/buf.h"
#include "util/clock.h"
#include "util/log.h"

#include <errno.h>
#include <spawn.h>
#include <sys/wait.h>

extern char **environ;

/* A small, quick pool: ten connections, three retries of 100 ms and more. */
static inline struct db_config kit_config(void) {
	return (struct db_config){
		.conninfo = getenv("ROWFS_TEST_CONNINFO"),
		.min_connections = 1,
		.max_connections = 10,
		.connect_timeout_s = 10,
		.command_timeout_ms = 20000,
		.transaction_timeout_ms = 30000,
		.retry_attempts = 3,
		.retry_delay_ms = 100,
		.retry_backoff = 2.0,
		.prepared_statements = true,
	};
}

static inline struct db_pool *kit_pool(const struct db_config *cfg) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	struct db_pool *pool = NULL;
	if (db_pool_new(cfg, &pool, &err) < 0) {
		fprintf(stderr, "no pool: %s\n", err.sentence);
		exit(1);
	}
	return pool;
}

static inline struct db_pool *kit_default_pool(void) {
	struct db_config cfg = kit_config();
	return kit_pool(&cfg);
}

/* The same with MAX connections and RETRIES. */
static inline struct db_pool *pool_of(int max, int retries) {
	struct db_config cfg = kit_config();
	cfg.max_connections = max;
	cfg.retry_attempts = retries;
	return kit_pool(&cfg);
}

static inline struct db_stats stats_of(struct db_pool *pool) {
	struct db_stats stats;
	db_pool_stats(pool, &stats);
	return stats;
}

/* The first value of SQL's result, "" if there is none, NULL (and the reason printed) on
 * failure. */
static inline char *kit_value(struct db_pool *pool, const char *sql) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	AUTO_RESULT PGresult *res = NULL;
	if (db_query_text(pool, sql, NULL, 0, DB_REPEATABLE, NULL, &res, &err) < 0) {
		fprintf(stderr, "%s: %s\n", sql, err.sentence);
		return NULL;
	}
	return strdup(PQntuples(res) > 0 && PQnfields(res) > 0 ? PQgetvalue(res, 0, 0) : "");
}

#define CHECK_VALUE(pool, sql, want)                                                               \
	do {                                                                                       \
		AUTO_FREE char *value_ = kit_value(pool, sql);                                     \
		CHECK_STR(value_, want);                                                           \
	} while (0)

static inline void kit_run(struct db_pool *pool, const char *sql) {
	AUTO_FREE char *value = kit_value(pool, sql);
	CHECK(value != NULL);
}

static inline long kit_number(struct db_pool *pool, const char *sql) {
	AUTO_FREE char *value = kit_value(pool, sql);
	return value != NULL && value[0] != '\0' ? strtol(value, NULL, 10) : -1;
}

/* Runs SQL that must fail; returns the -errno, ERR is filled. */
static inline int kit_fails(struct db_pool *pool, const char *sql, struct db_error *err) {
	db_error_clear(err);
	return db_query_text(pool, sql, NULL, 0, 0, NULL, NULL, err);
}

static inline int64_t ms_since(int64_t start_us) {
	return (clock_us() - start_us) / US_PER_MS;
}

/* Looks at COND every few milliseconds, for ten seconds at most. */
#define WAIT_UNTIL(cond)                                                                           \
	do {                                                                                       \
		int64_t until_ = clock_us() + 10 * (int64_t)US_PER_S;                              \
		while (!(cond) && clock_us() < until_)                                             \
			usleep(2000);                                                              \
		CHECK(cond);                                                                       \
	} while (0)

static inline long backend_of(struct db_pool *pool) {
	return kit_number(pool, "SELECT pg_backend_pid()");
}

/* Tells the test's server to stop, kill (no shutdown checkpoint), start, freeze or thaw; waits. */
static inline void kit_server(const char *what) {
	char *argv[] = { getenv("ROWFS_TEST_PGCTL"), (char *)what, NULL };
	pid_t pid;
	int status = -1;
	if (posix_spawn(&pid, argv[0], NULL, NULL, argv, environ) == 0)
		waitpid(pid, &status, 0);
	CHECK_INT(status, 0);
}

/* One query in a thread of its own. */
struct job {
	struct db_pool *pool;
	const char *sql;
	unsigned flags;
	struct db_cancel *cancel;
	pthread_t thread;
	int rc;
	int64_t took_ms;
	struct db_error err;
	char value[64];
};

static inline void *job_main(void *arg) {
	struct job *j = arg;
	AUTO_RESULT PGresult *res = NULL;
	int64_t start = clock_us();
	j->rc = db_query_text(j->pool, j->sql, NULL, 0, j->flags, j->cancel, &res, &j->err);
	j->took_ms = ms_since(start);
	if (j->rc == 0 && PQntuples(res) > 0)
		snprintf(j->value, sizeof(j->value), "%s", PQgetvalue(res, 0, 0));
	return NULL;
}

static inline void job_start(struct job *j) {
	if (pthread_create(&j->thread, NULL, job_main, j) != 0)
		exit(1);
}

/* Waits for its end; the result is in J until job_clear(). */
static inline void job_join(struct job *j) {
	pthread_join(j->thread, NULL);
}

/* Waits until a statement that contains MARK runs; returns its backend's process id. */
static inline long kit_wait_active(struct db_pool *admin, const char *mark) {
	AUTO_BUF struct buf sql = { 0 };
	long pid = -1;
	buf_puts(&sql, "SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND "
		       "state = 'active' AND strpos(query, ");
	db_quote_literal(&sql, mark);
	buf_puts(&sql, ") > 0");
	WAIT_UNTIL((pid = kit_number(admin, sql.data)) > 0);
	return pid;
}
