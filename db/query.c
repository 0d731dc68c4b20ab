#include "db/query.h"

#include "db/retry.h"
#include "db/run.h"

struct work {
	const struct conn_work *what;
	PGresult **out;
};

static enum conn_end run_once(struct db_conn *c, void *arg, struct db_error *err) {
	const struct work *w = arg;
	return conn_run(c, w->what, w->out, err);
}

static int run_work(struct db_pool *pool, const struct conn_work *w, struct db_cancel *cancel,
		    PGresult **out, struct db_error *err) {
	struct retry r = { .pool = pool, .cancel = cancel, .flags = w->flags };
	struct work work = { .what = w, .out = out };
	return retry_run(&r, run_once, &work, NULL, err);
}

int db_query(struct db_pool *pool, struct db_statement *st, const struct db_param *params, int n,
	     unsigned flags, struct db_cancel *cancel, PGresult **out, struct db_error *err) {
	const struct conn_work w = conn_work_of(st, params, n, flags);
	return run_work(pool, &w, cancel, out, err);
}

const char db_health_sql[] = "SELECT 1";

int db_query_text(struct db_pool *pool, const char *sql, const struct db_param *params, int n,
		  unsigned flags, struct db_cancel *cancel, PGresult **out, struct db_error *err) {
	const struct conn_work w = { .sql = sql, .params = params, .n = n, .flags = flags };
	return run_work(pool, &w, cancel, out, err);
}
