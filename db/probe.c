#include "db/probe.h"

#include "db/run.h"
#include "db/session.h"
#include "util/clock.h"

int db_probe(const struct db_config *cfg, int allowed_ms, const char *sql,
	     const struct db_param *params, int n, PGresult **out, struct db_error *err) {
	struct db_conn *c = NULL;
	bool final;
	int rc = session_open(cfg, -1, allowed_ms, NULL, &c, &final, err);
	if (rc != 0)
		return rc;
	const struct conn_work w = {
		.sql = sql, .params = params, .n = n, .flags = DB_NO_RETRY, .out = out
	};
	c->deadline_us = deadline_after_ms(allowed_ms);
	enum conn_end end = conn_run(c, &w, err);
	conn_close(c);
	return end == CONN_DONE ? 0 : err->errnum != 0 ? -err->errnum : -EIO;
}
