#include "fs/docs/store.h"

#include "db/field.h"
#include "fs/cache/coherence.h"
#include "fs/stream/once.h"
#include "fs/bytes/plain.h"
#include "fs/names/statement.h"
#include "schema/layout/rights.h"
#include "schema/statements/sql.h"

#include <errno.h>
#include <string.h>

/* -- rows -------------------------------------------------------------------------------------- */

/* A document on its way to a row. */
struct row_document {
	struct shape shape;
	struct buf quoted;    /* the text, if it has JSON columns */
	struct db_param json; /* borrowed */
};

#define AUTO_ROW_DOCUMENT __attribute__((cleanup(row_document_free)))

static void row_document_free(struct row_document *d) {
	shape_free(&d->shape);
	buf_free(&d->quoted);
}

static int take_document(struct call *call, const struct place *place, const char *json, size_t len,
			 struct row_document *out) {
	AUTO_BUF struct buf why = { 0 };
	AUTO_SPANS struct json_spans spans = { 0 };
	const struct json_members members = sql_members(place);
	if (shape_scan_members(json, len, &members, &out->shape, &spans, &why) != 0)
		return call_error(call, EINVAL, "%s", why.data);
	out->json = (struct db_param){ .data = json, .len = len, .oid = DB_TEXT };
	if (spans.n == 0)
		return 0;
	json_put_quoted(&out->quoted, json, 0, len, &spans);
	out->json.data = out->quoted.data;
	out->json.len = out->quoted.len;
	return out->quoted.failed ? call_error(call, ENOMEM, "out of memory") : 0;
}

/* The columns that an answer of sql_differing_columns() names. False if out of memory. */
static bool take_differing(const PGresult *res, struct shape *out) {
	for (int i = 0; i < PQnfields(res); i++)
		if (field_is_true(res, 0, i) &&
		    !shape_add(out, PQfname(res, i), strlen(PQfname(res, i))))
			return false;
	return true;
}

/* Runs made SQL on W's keys and the document. */
static int run_document(struct call *call, char *sql, const struct where *w,
			const struct db_param *json, PGresult **res, struct db_error *err) {
	struct db_param params[WHERE_PARAMS];
	AUTO_FREE char *owned = sql;
	if (sql == NULL)
		return db_error_set(err, ENOENT,
				    "there is no such row, and none can be made through this path");
	int n = where_params(w, params);
	params[n++] = *json;
	return db_query_text(call->fs->pool, sql, params, n, DB_REPEATABLE, NULL, res, err);
}

/* True if SQL, on W's keys and the document, has a row whose first field says that it is more
 * than none. What the server does not answer is no. */
static bool finds(struct call *call, char *sql, const struct where *w,
		  const struct db_param *json) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	AUTO_RESULT PGresult *res = NULL;
	return run_document(call, sql, w, json, &res, &err) == 0 && PQntuples(res) > 0 &&
	       field_number(res, 0, 0) > 0;
}

/* Neither updated nor inserted: why? */
static int why_nothing(struct call *call, const struct where *w) {
	bool exists;
	/* the row's own directory is not its parent */
	int rc = statement_row_above(call, w, w->place->target, &exists);
	if (rc != 0)
		return rc;
	if (!exists)
		return call_error(call, ENOENT, "the parent row of this path does not exist");
	call->other_row = true;
	return call_error(
		call, EINVAL,
		"the document contradicts its path: a key or the reference to the parent row is another one "
		"than the path says (leave it out, or write to the other path)");
}

/* Updates the columns that D says something new about. *CHANGED: how many rows are as it says;
 * 0: there is none, or the row has changed just now. */
static int update_row(struct call *call, const struct where *w, const struct row_document *d,
		      bool all, int *changed) {
	AUTO_SHAPE struct shape differing = { 0 };
	AUTO_RESULT PGresult *asked = NULL, *updated = NULL;
	char *ask = all ? NULL : sql_differing_columns(w->place, &d->shape);
	bool asks = ask != NULL;
	int rc = asks ? run_document(call, ask, w, &d->json, &asked, &call->err) : 0;
	if (rc == -EACCES) { /* it may write a column, and not read it */
		db_error_clear(&call->err);
		asks = false;
		rc = 0;
	}
	if (rc != 0 || (asks && PQntuples(asked) == 0))
		return rc;
	if (asks && !take_differing(asked, &differing))
		return call_error(call, ENOMEM, "out of memory");
	if (asks && differing.n == 0) {
		*changed = 1;
		return 0;
	}
	rc = run_document(call, sql_update_document(w->place, &d->shape, asks ? &differing : NULL),
			  w, &d->json, &updated, &call->err);
	rc = statement_other_key(call, rc, &call->other_row);
	*changed = rc == 0 ? (int)field_changed(updated) : 0;
	return rc;
}

/* Inserts it. *SKIPPED: a trigger has skipped it. */
static int insert_row(struct call *call, const struct where *w, const struct row_document *d,
		      int *changed, bool *skipped) {
	AUTO_RESULT PGresult *res = NULL;
	int rc = run_document(call, sql_insert(w->place, &d->shape, SOURCE_ONE), w, &d->json, &res,
			      &call->err);
	rc = statement_other_key(call, rc, &call->other_row);
	*changed = rc == 0 ? (int)field_changed(res) : 0;
	if (rc != 0 || *changed > 0)
		return rc;
	*skipped = finds(call, sql_count(w->place, &d->shape, SOURCE_ONE), w, &d->json);
	return *skipped ? 0 : why_nothing(call, w);
}

int store_row(struct call *call, const struct where *w, const char *json, size_t len,
	      bool created) {
	AUTO_ROW_DOCUMENT struct row_document d = { 0 };
	const struct relation *rel = w->place->scope.tables[w->place->target].rel;
	bool insert = created;
	int changed = 0, updates = 0;
	int rc = take_document(call, w->place, json, len, &d);
	if (rc == 0)
		rc = statement_check_shape(call, w->place, &d.shape);
	/* in turn, since the row may appear or go between the two; the insert has the last word */
	int last = created ? 2 : 3;
	bool skipped = false;
	for (int attempt = 0; rc == 0 && changed == 0 && !skipped && attempt <= last;
	     attempt++, insert = !insert) {
		if (!insert) {
			rc = update_row(call, w, &d, updates++ > 0, &changed);
			continue;
		}
		rc = insert_row(call, w, &d, &changed, &skipped);
		if (rc == -EEXIST) {
			skipped = attempt == last &&
				  finds(call, sql_find_updated(w->place, &d.shape), w, &d.json);
			if (skipped || attempt < last) {
				db_error_clear(&call->err);
				rc = 0;
			}
		}
	}
	rights_explain(rel, &call->err);
	coherence_changed(call->fs, &call->err);
	return rc;
}

/* A row that another one's document replaces. */
struct replacement {
	const struct where *from, *to;
	const char *ask, *find;
	const struct row_document *document;
};

/* The update has changed no row. */
static int why_not_replaced(struct db_conn *conn, const struct replacement *r,
			    const struct db_param *params, int n, struct db_error *err) {
	AUTO_RESULT PGresult *res = NULL;
	int rc = db_query_on(conn, r->find, params, n, &res, err);
	if (rc == 0 && PQntuples(res) > 0)
		return db_error_set(err, EPERM,
				    "a trigger has skipped the change of the row that the file was "
				    "renamed onto: nothing is changed");
	return rc != 0 ? rc
		       : db_error_set(
				 err, EINVAL,
				 "the row that the file was renamed onto has just gone, or the "
				 "document says another key or parent than the new name");
}

static int replace_in_tx(struct db_conn *conn, void *arg, struct db_error *err) {
	const struct replacement *r = arg;
	struct db_param params[WHERE_PARAMS];
	AUTO_SHAPE struct shape differing = { 0 };
	AUTO_RESULT PGresult *asked = NULL, *res = NULL;
	/* first, since both may have the same unique values */
	int rc = statement_remove_on(conn, r->from, NULL, err);
	int n = where_params(r->to, params);
	params[n++] = r->document->json;
	if (rc == 0)
		rc = db_query_on(conn, r->ask, params, n, &asked, err);
	if (rc != 0)
		return rc;
	if (PQntuples(asked) == 0)
		return why_not_replaced(conn, r, params, n, err);
	if (!take_differing(asked, &differing))
		return db_error_set(err, ENOMEM, "out of memory");
	if (differing.n == 0)
		return 0;
	AUTO_FREE char *update = sql_update_document(r->to->place, &r->document->shape, &differing);
	rc = update != NULL ? db_query_on(conn, update, params, n, &res, err)
			    : db_error_set(err, ENOMEM, "out of memory");
	return rc == 0 && (int)field_changed(res) == 0 ? why_not_replaced(conn, r, params, n, err)
						       : rc;
}

int store_replace_by(struct call *call, const struct where *from, const struct where *to,
		     const char *json, size_t len) {
	AUTO_ROW_DOCUMENT struct row_document d = { 0 };
	if (from->place->route->refuse_remove)
		return call_error(call, EPERM,
				  "the layout refuses to remove rows here, and the one of the "
				  "temporary name would have to go");
	int rc = take_document(call, to->place, json, len, &d);
	if (rc != 0)
		return rc;
	AUTO_FREE char *ask = sql_differing_columns(to->place, &d.shape);
	AUTO_FREE char *find = sql_find_updated(to->place, &d.shape);
	struct replacement r = {
		.from = from,
		.to = to,
		.ask = ask != NULL ? ask : find, /* nothing to set */
		.find = find,
		.document = &d,
	};
	if (find == NULL || from->place->sql.remove.sql == NULL)
		return call_error(call, EEXIST, "there is a row with the new key already");
	rc = db_transaction(call->fs->pool, replace_in_tx, &r, DB_REPEATABLE, NULL, &call->err);
	coherence_changed(call->fs, &call->err);
	return rc;
}

/* -- columns ----------------------------------------------------------------------------------- */

/* Length of the value in LEN bytes of a file of COLUMN: short scalars lose the newline that they
 * are shown with. */
static size_t value_length(const struct column *column, const char *data, size_t len) {
	bool exact = strcmp(column->base, "text") == 0 || strcmp(column->base, "bytea") == 0;
	if (exact || len == 0 || data[len - 1] != '\n')
		return len;
	return len > 1 && data[len - 2] == '\r' ? len - 2 : len - 1;
}

/* A statement in one with the ledger's row, so that it can be repeated. */
struct append_tx {
	struct call *call;
	const struct where *w;
	const char *sql;
	struct db_param value;
	int changed;
};

static int append_in_tx(struct db_conn *conn, void *arg, struct db_error *err) {
	struct append_tx *tx = arg;
	struct db_param params[WHERE_PARAMS];
	AUTO_RESULT PGresult *res = NULL;
	int n = where_params(tx->w, params);
	params[n++] = tx->value;
	int rc = db_query_on(conn, tx->sql, params, n, &res, err);
	tx->changed = rc == 0 ? (int)field_changed(res) : 0;
	return rc;
}

/* True if the file's directory was made by mkdir and waits for its row: then the column may be what
 * makes it. */
static bool is_waited_for(struct call *call, const struct where *w) {
	const char *slash = strrchr(w->path, '/');
	AUTO_FREE char *dir = strndup(w->path, (size_t)(slash - w->path));
	struct stat st;
	return dir != NULL && dir[0] != '\0' && w->place->parent->owns_row &&
	       plain_stat(call->fs->plain, dir, &st) == 0 && S_ISDIR(st.st_mode);
}

/* Whether W's row is there, and may be changed. */
static int column_row(struct call *call, const struct where *w, bool *exists) {
	AUTO_RESULT PGresult *res = NULL;
	struct db_statement *st = (struct db_statement *)(uintptr_t)&w->place->sql.row;
	int rc = statement_query(call, st, w, DB_REPEATABLE, &res);
	*exists = rc == 0 && PQntuples(res) > 0;
	return rc;
}

/* Sets the column, if VALUE is not what is there. *CHANGED: how many rows are as it says. */
static int set_column(struct call *call, const struct where *w, const struct db_param *value,
		      int *changed) {
	struct place_sql *sql = (struct place_sql *)(uintptr_t)&w->place->sql;
	int rc = statement_run(call, &sql->same, w, value, 1, changed);
	if (rc != 0 && rc != -EACCES) /* it may write the column, and not read it */
		return rc;
	db_error_clear(&call->err);
	return *changed > 0 ? 0 : statement_run(call, &sql->set, w, value, 1, changed);
}

int store_column(struct call *call, const struct where *w, const char *data, size_t len,
		 bool append) {
	const struct column *column = w->place->column;
	struct place_sql *sql = (struct place_sql *)(uintptr_t)&w->place->sql;
	bool bytes = strcmp(column->base, "bytea") == 0;
	AUTO_BUF struct buf why = { 0 };
	int rc, changed = 0;
	if (!bytes && text_check(data, len, &why) != 0)
		return call_error(call, EINVAL, "%s", why.data);
	struct db_param value = {
		.data = data != NULL ? data : "",
		.len = value_length(column, data, len),
		.oid = bytes ? DB_BYTEA : DB_TEXT,
	};
	if (append && sql->append.sql != NULL) {
		struct append_tx tx = {
			.call = call, .w = w, .sql = sql->append.sql, .value = value
		};
		rc = once_run(call->fs->stream, 0, append_in_tx, &tx, NULL, &call->err);
		changed = tx.changed;
		coherence_changed(call->fs, &call->err);
	} else {
		rc = set_column(call, w, &value, &changed);
	}
	if (rc == 0 && changed == 0 && is_waited_for(call, w) && sql->insert.sql != NULL)
		rc = statement_other_key(
			call, statement_run(call, &sql->insert, w, &value, 1, &changed), NULL);
	bool skipped = false; /* by a trigger */
	if (rc == 0 && changed == 0)
		rc = column_row(call, w, &skipped);
	if (rc == 0 && changed == 0 && !skipped)
		return call_error(call, ENOENT, "the row of this file does not exist (any more)");
	return rc;
}

bool store_column_has_no_row(struct call *call, const struct where *w) {
	struct db_error kept = call->err;
	bool exists;
	call->err = (struct db_error){ 0 };
	int rc = column_row(call, w, &exists);
	db_error_end(&call->err);
	call->err = kept;
	return rc == 0 && !exists;
}

/* -- removing ---------------------------------------------------------------------------------- */

/* Runs ST. *GONE: it has changed something. */
static int run_removal(struct call *call, const struct where *w, struct db_statement *st,
		       bool *gone) {
	int changed, rc = statement_run(call, st, w, NULL, 0, &changed);
	if (rc == -ENOENT && strcmp(call->err.sqlstate, "23503") == 0)
		return call_error(call, ENOTEMPTY,
				  "rows of another table refer to this row: remove them first");
	if (rc != 0)
		return rc;
	/* the mark of a file that has no row yet */
	bool marked = plain_unlink(call->fs->plain, w->path) == 0;
	*gone = changed > 0 || marked;
	return 0;
}

int store_remove(struct call *call, const struct where *w) {
	struct place_sql *sql = (struct place_sql *)(uintptr_t)&w->place->sql;
	bool gone = false, exists, row = w->place->route->kind == KIND_ROW;
	int rc = run_removal(call, w, row ? &sql->remove : &sql->clear, &gone);
	if (rc != 0 || gone)
		return rc;
	rc = statement_exists(call, w, &exists);
	if (rc == 0 && exists)
		return statement_skipped(call, w->place, "the removal");
	/* a trigger may have hidden the row instead of deleting it */
	return rc != 0 || row ? rc : -ENOENT;
}

/* It may have had no rows, and its name stays in any case: so it is no matter whether any has
 * gone. */
int store_remove_table(struct call *call, const struct where *w) {
	bool gone = false;
	return run_removal(call, w, (struct db_statement *)(uintptr_t)&w->place->sql.remove, &gone);
}

int store_remove_query(struct call *call, const struct where *w) {
	return call_error(call, EROFS, "this file is made by the database and cannot be removed");
}
