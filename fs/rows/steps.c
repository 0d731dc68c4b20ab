#include "fs/rows/steps.h"

#include "db/field.h"
#include "schema/layout/rights.h"
#include "schema/statements/sql.h"
#include "util/list.h"

#include <errno.h>

void steps_free(struct steps *steps) {
	for (int i = 0; i < steps->n; i++)
		free(steps->all[i].sql);
	free(steps->all);
	*steps = (struct steps){ 0 };
}

struct place steps_place(const struct steps *steps, const struct place *place) {
	struct place next = *place;
	next.nparams += steps->n; /* each step has one parameter of its own */
	return next;
}

int steps_add(struct steps *steps, char *sql, const struct buf *text) {
	if (sql == NULL || !list_room(steps->all, steps->n)) {
		free(sql);
		return -ENOMEM;
	}
	steps->all[steps->n++] = (struct step){ .sql = sql, .text = text };
	return text->failed ? -ENOMEM : 0;
}

/* How many rows each step has changed. */
static int take_counts(struct steps *steps, const PGresult *res, struct db_error *err) {
	int rc = field_judge(res, ROWS_ANY, "nn", err);
	for (int row = 0; rc == 0 && row < PQntuples(res); row++) {
		int64_t i = field_number(res, row, 0);
		if (i >= steps->n)
			return db_error_set(err, EIO, "the server has answered for another step");
		steps->all[i].changed = (int)field_number(res, row, 1);
	}
	return rc;
}

int steps_run(struct db_conn *conn, struct steps *steps, struct db_error *err) {
	size_t most = (size_t)steps->n + WHERE_PARAMS;
	AUTO_FREE struct db_param *params = calloc(most, sizeof(*params));
	AUTO_FREE char **sqls = calloc(most, sizeof(*sqls));
	AUTO_RESULT PGresult *res = NULL;
	if (params == NULL || sqls == NULL)
		return db_error_set(err, ENOMEM, "out of memory");
	int n = where_params(steps->w, params);
	for (int i = 0; i < steps->n; i++) {
		const struct buf *text = steps->all[i].text;
		sqls[i] = steps->all[i].sql;
		params[n++] =
			(struct db_param){ .data = text->data, .len = text->len, .oid = DB_TEXT };
	}
	AUTO_FREE char *sql = sql_together(sqls, steps->n);
	if (sql == NULL)
		return db_error_set(err, ENOMEM, "out of memory");
	int rc = db_query_on(conn, sql, params, n, &res, err);
	rights_explain(steps->w->place->scope.tables[steps->w->place->target].rel, err);
	return rc == 0 ? take_counts(steps, res, err) : rc;
}
