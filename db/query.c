#include "db/query.h"

#include "db/retry.h"
#include "db/run.h"

static enum conn_end run_once(struct db_conn *c, void *arg, struct db_error *err) {
	return conn_run(c, arg, err);
}

static int run_work(struct db_pool *pool, struct conn_work *w, struct db_cancel *cancel,
		    struct db_error *err) {
	struct retry r = { .pool = pool, .cancel = cancel, .flags = w->flags };
	return retry_run(&r, run_once, w, NULL, err);
}

int db_query(struct db_pool *pool, struct db_statement *st, const struct db_param *params, int n,
	     unsigned flags, struct db_cancel *cancel, PGresult **out, struct db_error *err) {
	struct conn_work w = conn_work_of(st, params, n, flags, out);
	return run_work(pool, &w, cancel, err);
}

const char db_health_sql[] = "SELECT 1";

int db_query_text(struct db_pool *pool, const char *sql, const struct db_param *params, int n,
		  unsigned flags, struct db_cancel *cancel, PGresult **out, struct db_error *err) {
	struct conn_work w = { .sql = sql, .params = params, .n = n, .flags = flags, .out = out };
	return run_work(pool, &w, cancel, err);
}
