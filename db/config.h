/* How a database is reached and used: what a pool, a session and a listener are made with. */
#pragma once

#include <stdbool.h>

struct db_config {
	/* libpq conninfo or URI; may hold a password: never logged, and never copied: it is the
	 * caller's as long as the pool (or the listener) lives */
	const char *conninfo;
	const char *search_path;     /* schema put first on the search path, or NULL */
	const char *isolation_level; /* "read committed" ..., or NULL for the server's default */
	int min_connections;         /* opened at start and kept */
	int max_connections;         /* never more than these at once */
	int connect_timeout_s;       /* one attempt, seconds */
	int command_timeout_ms;      /* one statement, milliseconds; 0 = no limit */
	/* one transaction of several statements, milliseconds; 0 = no limit */
	int transaction_timeout_ms;
	int retry_attempts;   /* further attempts after the first, when the connection is lost */
	int retry_delay_ms;   /* pause before the first of them, milliseconds */
	double retry_backoff; /* each further pause is this much longer */
	bool prepared_statements; /* false behind a pooler that has no sessions */
	bool log_queries;
	int slow_query_ms;    /* log statements slower than this; 0 = never */
	const char *mark;     /* every session's setting rowfs.mount, or NULL; see db_pool_mark() */
	const char *greeting; /* statements that every session begins with, or NULL; trusted SQL */
};
