#include "schema/count/mutex.h"

#include <errno.h>
#include <string.h>

enum { LOCK_TRIES = 3 };

int mutex_begin(struct db_conn *conn, const char *name, const struct db_param *table,
		struct db_error *err) {
	struct db_param params[] = { db_text(name), *table };
	int rc = db_query_on(
		conn, "SELECT rowfs.lock_mutex($1::pg_catalog.text, $2::pg_catalog.regclass)",
		params, 2, NULL, err);
	if (rc != 0 && strcmp(err->sqlstate, "42883") == 0)
		return db_error_set(
			err, EOPNOTSUPP,
			"the schema rowfs is older than this program (enable_migrations, "
			"or sqitch)");
	/* a writer is only waited for briefly: others queue behind us */
	if (rc == 0)
		rc = db_query_on(conn, "SET LOCAL lock_timeout = '2s'", NULL, 0, NULL, err);
	return rc;
}

int mutex_transaction(struct db_pool *pool, db_tx_fn fn, void *arg, struct db_error *err) {
	int rc = db_transaction(pool, fn, arg, DB_REPEATABLE, NULL, err);
	for (int i = 1; rc != 0 && i < LOCK_TRIES && strcmp(err->sqlstate, "55P03") == 0; i++)
		rc = db_transaction(pool, fn, arg, DB_REPEATABLE, NULL, err);
	return rc;
}
