#include "fs/names/statement.h"

#include "db/field.h"
#include "fs/cache/coherence.h"
#include "fs/names/removal.h"
#include "schema/statements/sql.h"

#include <errno.h>
#include <string.h>

bool statement_was_ours(const struct call *call) {
	return call->err.in_doubt && strcmp(call->err.sqlstate, "23505") == 0;
}

bool statement_is_no_value(const struct call *call) {
	/* invalid text representation, datetime format and range, numeric range, encoding,
	 * parameter value */
	static const char states[] = "22P02 22007 22008 22003 22021 22023 23514";
	return strlen(call->err.sqlstate) == 5 && strstr(states, call->err.sqlstate) != NULL;
}

int statement_other_key(struct call *call, int rc, bool *other) {
	const char *said = rc == -EINVAL && strcmp(call->err.sqlstate, "22P02") == 0 &&
					   call->err.sentence != NULL
				   ? strstr(call->err.sentence, SQL_OTHER_KEY)
				   : NULL;
	if (said == NULL)
		return rc;
	if (other != NULL)
		*other = true;
	said += strlen(SQL_OTHER_KEY);
	const char *end = strrchr(said, '"');
	AUTO_FREE char *key = strndup(said, end != NULL ? (size_t)(end - said) : strlen(said));
	return call_error(
		call, EINVAL,
		"a trigger, or the column's type, gives the row another key than its name "
		"says (%s): nothing is changed; use the name of that key",
		key != NULL ? key : "");
}

/* The rules of the table that is written through PLACE, "x, y"; nothing if there are none. */
static void put_rules(struct buf *out, const struct place *place) {
	int table = place->target >= 0 ? place->target : place->row_table;
	const struct relation *rel = table >= 0 ? place->scope.tables[table].rel : NULL;
	for (int i = 0; rel != NULL && i < rel->rules.n; i++)
		buf_printf(out, "%s\"%s\"", i > 0 ? ", " : "", rel->rules.names[i]);
	if (out->len > 0)
		buf_printf(out, " of %s", rel->name);
}

void statement_name_rules(struct db_error *err, const struct place *place) {
	AUTO_BUF struct buf rules = { 0 };
	put_rules(&rules, place);
	if (err->sqlstate[0] == '\0' || err->sentence == NULL || rules.len == 0 || rules.failed)
		return;
	AUTO_BUF struct buf said = { 0 };
	buf_printf(&said, "%s (PostgreSQL rewrites what is written by the rule %s)", err->sentence,
		   rules.data);
	if (said.failed)
		return;
	free(err->sentence);
	err->sentence = buf_take(&said);
}

int statement_skipped(struct call *call, const struct place *place, const char *what) {
	AUTO_BUF struct buf rules = { 0 };
	put_rules(&rules, place);
	if (rules.len > 0)
		return call_error(call, EPERM,
				  "the rule %s has put something else in place of %s: change it "
				  "where the rule leads to, or drop the rule",
				  rules.data, what);
	return call_error(call, EPERM, "a trigger or a policy has skipped %s: nothing is changed",
			  what);
}

/* Runs ST by itself, or in the removal that CALL is part of. */
static int run(struct call *call, struct db_statement *st, const struct db_param *params, int n,
	       unsigned flags, PGresult **res) {
	if (call->removal != NULL)
		return removal_query(call, st, params, n, flags, res);
	int rc = db_query(call->fs->pool, st, params, n, flags, NULL, res, &call->err);
	coherence_own(call->fs, &call->err);
	return rc;
}

int statement_query(struct call *call, struct db_statement *st, const struct where *w,
		    unsigned flags, PGresult **res) {
	struct db_param params[WHERE_PARAMS];
	return run(call, st, params, where_params(w, params), flags, res);
}

int statement_run(struct call *call, struct db_statement *st, const struct where *w,
		  const struct db_param *more, int nmore, int *changed) {
	struct db_param params[WHERE_PARAMS];
	AUTO_RESULT PGresult *res = NULL;
	int n = where_params(w, params);
	for (int i = 0; i < nmore; i++)
		params[n++] = more[i];
	int rc = run(call, st, params, n, DB_REPEATABLE, &res);
	if (rc != 0)
		statement_name_rules(&call->err, w->place);
	*changed = rc == 0 ? (int)field_changed(res) : 0;
	fs_changed(call->fs);
	return rc;
}

int statement_exists(struct call *call, const struct where *w, bool *exists) {
	AUTO_RESULT PGresult *res = NULL;
	struct place_sql *sql = (struct place_sql *)(uintptr_t)&w->place->sql;
	struct db_statement *st = sql->bare.sql != NULL ? &sql->bare : &sql->find;
	*exists = st->sql == NULL; /* literal directories */
	if (st->sql == NULL)
		return 0;
	int rc = statement_query(call, st, w, DB_REPEATABLE | DB_BINARY, &res);
	*exists = rc == 0 && PQntuples(res) > 0;
	if (statement_is_no_value(call)) {
		db_error_clear(&call->err);
		return 0;
	}
	return rc;
}

int statement_row_above(struct call *call, const struct where *w, int but, bool *exists) {
	struct where dir =
		*w; /* borrows W's strings: a directory above has the first of its keys */
	*exists = true;
	dir.place = w->place->parent;
	while (dir.place != NULL && (!dir.place->row_dir || dir.place->row_table == but))
		dir.place = dir.place->parent;
	return dir.place != NULL ? statement_exists(call, &dir, exists) : 0;
}

bool statement_parent_exists(struct call *call, const struct where *w) {
	bool exists;
	return statement_row_above(call, w, -1, &exists) != 0 || exists;
}

bool statement_is_referred(struct call *call, const struct where *w) {
	struct db_param params[WHERE_PARAMS];
	AUTO_DB_ERROR struct db_error err = { 0 };
	AUTO_FREE char *sql = sql_find_referred(w->place, w->place->tree->snapshot->catalog);
	AUTO_RESULT PGresult *res = NULL;
	int n = where_params(w, params);
	return sql == NULL ||
	       db_query_text(call->fs->pool, sql, params, n, DB_REPEATABLE, NULL, &res, &err) !=
		       0 ||
	       PQntuples(res) > 0;
}

int statement_check_keys(struct call *call, const struct where *w) {
	struct db_param params[WHERE_PARAMS];
	AUTO_RESULT PGresult *res = NULL;
	struct db_statement *st = (struct db_statement *)(uintptr_t)&w->place->sql.check;
	if (st->sql == NULL)
		return 0;
	int n = where_params(w, params);
	int rc = db_query(call->fs->pool, st, params, n, DB_REPEATABLE, NULL, &res, &call->err);
	if (rc != 0)
		return rc;
	if (PQntuples(res) == 1 && field_is_true(res, 0, 0))
		return 0;
	return call_error(call, EINVAL,
			  "the name is not the canonical form of its key: write it as the "
			  "database would (a uuid in lower case, a number without leading zeros)");
}

int statement_check_shape(struct call *call, const struct place *place, const struct shape *shape) {
	const struct relation *rel = place->scope.tables[place->target].rel;
	if (place->route->overflow != NULL)
		return 0;
	AUTO_BUF struct buf unknown = { 0 }, known = { 0 };
	int n = 0;
	for (int i = 0; i < shape->n; i++) {
		if (relation_column(rel, shape->names[i]) != NULL)
			continue;
		buf_printf(&unknown, "%s\"%s\"", n++ > 0 ? ", " : "", shape->names[i]);
	}
	if (n == 0)
		return 0;
	for (int i = 0; i < rel->ncolumns; i++)
		buf_printf(&known, "%s%s", i > 0 ? ", " : "", rel->columns[i].name);
	return call_error(call, EINVAL, "no column of %s takes the key%s %s (it has: %s)",
			  rel->layout_name, n > 1 ? "s" : "", unknown.data, known.data);
}

int statement_remove_on(struct db_conn *conn, const struct where *w, int *changed,
			struct db_error *err) {
	struct db_param params[WHERE_PARAMS];
	AUTO_RESULT PGresult *res = NULL;
	int rc = db_query_on(conn, w->place->sql.remove.sql, params, where_params(w, params), &res,
			     err);
	if (rc == 0 && changed != NULL)
		*changed = (int)field_changed(res);
	return rc;
}
