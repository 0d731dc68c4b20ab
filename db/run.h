/* Running one statement on one connection. Internal to db/. */
#pragma once

#include "db/conn.h"

/* What is to be run. */
struct conn_work {
	const char *sql;
	unsigned id;             /* of the db_statement; 0 = send unprepared */
	unsigned long long hash; /* of sql; of a db_statement only */
	const struct db_param *params;
	int n;
	unsigned flags;
	PGresult **out; /* where the result goes; may be NULL */
};

/* ST with N parameters, which are borrowed, as work. */
struct conn_work conn_work_of(struct db_statement *st, const struct db_param *params, int n,
			      unsigned flags, PGresult **out);

/* Runs W. On CONN_DONE W's *out is the result; otherwise ERR is filled. */
MUST_USE enum conn_end conn_run(struct db_conn *c, const struct conn_work *w, struct db_error *err);

/* The same, with the N statements FIRST before W in one message: one round trip. They take no
 * parameters, and stop at the first that fails. */
MUST_USE enum conn_end conn_run_behind(struct db_conn *c, const char *const *first, int n,
				       const struct conn_work *w, struct db_error *err);

/* Sends SQL, possibly of several statements. On CONN_DONE *OUT (may be NULL) is the result of the
 * last one. */
MUST_USE enum conn_end conn_script(struct db_conn *c, const char *sql, PGresult **out,
				   struct db_error *err);
/* The same, and drops what it returns. */
MUST_USE enum conn_end conn_command(struct db_conn *c, const char *sql, struct db_error *err);

/* Ends C's transaction, if one is open, by DEADLINE_US and a grace; a connection that does not obey
 * is lost. Unties C from its cancel. */
void conn_roll_back(struct db_conn *c, int64_t deadline_us);
