/* A statement and the judgement of its answer. */
#include "db/field.h"
#include "db/query.h"

int db_ask(struct db_pool *pool, const char *sql, const struct db_param *params, int n,
	   enum field_rows rows, const char *form, PGresult **out, struct db_error *err) {
	int rc = db_query_text(pool, sql, params, n, DB_REPEATABLE, NULL, out, err);
	return rc == 0 ? field_judge(*out, rows, form, err) : rc;
}

int db_ask_on(struct db_conn *conn, const char *sql, const struct db_param *params, int n,
	      enum field_rows rows, const char *form, PGresult **out, struct db_error *err) {
	int rc = db_query_on(conn, sql, params, n, out, err);
	return rc == 0 ? field_judge(*out, rows, form, err) : rc;
}
