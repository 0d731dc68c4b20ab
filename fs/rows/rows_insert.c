#include "fs/rows/rows_insert.h"

#include "db/field.h"
#include "fs/rows/rows_id.h"
#include "schema/layout/rights.h"

#include <errno.h>

int insert_make(const struct place *place, const struct line_group *group, const int *which, int n,
		struct insert *out) {
	const struct column *id = rows_id_of(place, &group->shape);
	struct shape shape = group->shape; /* with names of its own */
	AUTO_FREE char **names = calloc((size_t)shape.n + 1, sizeof(*names));
	if (names == NULL)
		return -ENOMEM;
	for (int i = 0; i < shape.n; i++)
		names[i] = shape.names[i];
	if (id != NULL)
		names[shape.n++] = id->name;
	shape.names = names;
	out->lines = n;
	out->sql = sql_insert(place, &shape, SOURCE_MANY);
	out->count = sql_count(place, &shape, SOURCE_MANY);
	buf_putc(&out->json, '[');
	for (int i = 0; i < n; i++) {
		const struct line *line = &group->lines[which[i]];
		const char *json = group->json.data + line->json_at;
		buf_puts(&out->json, i > 0 ? "," : "");
		if (id != NULL)
			rows_put_with_id(&out->json, id, &group->shape, json, line->json_len);
		else
			buf_add(&out->json, json, line->json_len);
	}
	buf_putc(&out->json, ']');
	if (out->json.failed)
		return -ENOMEM;
	return out->sql != NULL ? 0 : -EINVAL;
}

int rows_contradict(struct db_error *err) {
	int rc = db_error_set(
		err, EINVAL,
		"the line contradicts its path: a key or the reference to the parent row is "
		"another one than the path says, or there is no parent row");
	/* with_check_option_violation: what the server says of a row that a view would not show */
	snprintf(err->sqlstate, sizeof(err->sqlstate), "44000");
	return rc;
}

int insert_run(struct db_conn *conn, const struct input *in, const struct insert *insert,
	       struct db_error *err) {
	struct db_param params[WHERE_PARAMS];
	AUTO_RESULT PGresult *inserted = NULL, *counted = NULL;
	int n = where_params(in->w, params);
	params[n++] = (struct db_param){ .data = insert->json.data,
					 .len = insert->json.len,
					 .oid = DB_TEXT };
	int rc = db_query_on(conn, insert->sql, params, n, &inserted, err);
	rights_explain(in->w->place->scope.tables[in->w->place->target].rel, err);
	if (rc != 0 || field_changed(inserted) == insert->lines)
		return rc;
	if (insert->count == NULL)
		return rows_contradict(err);
	rc = db_query_on(conn, insert->count, params, n, &counted, err);
	bool all = rc == 0 && field_number(counted, 0, 0) == insert->lines;
	return rc != 0 || all ? rc : rows_contradict(err);
}

void insert_free(struct insert *insert) {
	buf_free(&insert->json);
	free(insert->sql);
	free(insert->count);
}
