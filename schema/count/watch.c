#include "schema/count/watch.h"

#include "db/field.h"
#include "util/text/array.h"
#include "schema/count/mutex.h"
#include "schema/layout/slice.h"
#include "schema/statements/sql.h"
#include "schema/expr/sql_build.h"
#include "util/log.h"
#include "schema/embedded.h"

#include <errno.h>
#include <string.h>

enum { CHUNK_PAGES = 2048 };

const char watch_fold_sql[] = "SELECT rowfs.fold()";

/* The slices of one table, as parameters. */
struct table {
	const struct relation *rel;
	struct slice **slices; /* of the tree; those with another rel are passed over */
	int nslices;
	struct buf name, ids, definitions;
	int nfilled; /* slices in them */
	watch_progress_fn progress;
	void *arg;
};

static void table_free(struct table *t) {
	buf_free(&t->name);
	buf_free(&t->ids);
	buf_free(&t->definitions);
}

/* REPAIRABLE: only slices that are so, and not usable. */
static bool table_fill(struct table *t, bool repairable) {
	int n = 0;
	table_free(t);
	put_relation(&t->name, "", t->rel);
	buf_putc(&t->definitions, '[');
	for (int i = 0; i < t->nslices; i++) {
		const struct slice *s = t->slices[i];
		if (s->rel != t->rel || (repairable && (s->usable || !s->repairable)))
			continue;
		array_add_number(&t->ids, s->id);
		/* the id, and then what else the object has */
		buf_printf(&t->definitions, "%s{\"id\": %lld, %s", n++ > 0 ? ", " : "",
			   (long long)s->id, s->definition + 1);
	}
	t->nfilled = n;
	buf_putc(&t->definitions, ']');
	array_end(&t->ids);
	return !t->name.failed && !t->ids.failed && !t->definitions.failed;
}

/* -- what is there ----------------------------------------------------------------------------- */

static void set_why(const struct table *t, const char *why) {
	for (int i = 0; i < t->nslices; i++) {
		if (t->slices[i]->rel != t->rel || t->slices[i]->usable)
			continue;
		free(t->slices[i]->why);
		t->slices[i]->why = strdup(why);
	}
}

/* Marks the slices that are usable. Returns true if nothing is left to be made: all are, or the
 * role sees only some of the rows, so that it can neither use nor count them. */
static bool ask(struct db_pool *pool, struct table *t) {
	AUTO_RESULT PGresult *res = NULL;
	AUTO_DB_ERROR struct db_error err = { 0 };
	struct db_param params[] = { { .data = t->name.data, .len = t->name.len },
				     { .data = t->ids.data, .len = t->ids.len } };
	bool all = true, again = false, hidden = false;
	int rc = db_ask(pool, embedded_watch_ask_sql, params, 2, ROWS_ANY, "ib?b?b?b?b?b", &res,
			&err);
	if (rc != 0) {
		set_why(t, err.sentence != NULL ? err.sentence : "the database did not answer");
		return false;
	}
	hidden = PQntuples(res) > 0 && field_is_true(res, 0, 6);
	for (int i = 0; i < t->nslices; i++) {
		struct slice *s = t->slices[i];
		for (int row = 0; !hidden && s->rel == t->rel && row < PQntuples(res); row++) {
			if (field_number(res, row, 0) != s->id)
				continue;
			s->usable = field_is_true(res, row, 1);
			s->counted = s->usable && field_is_true(res, row, 2) &&
				     field_is_true(res, row, 3);
			s->repairable = field_is_true(res, row, 4);
			s->missing = !s->usable && !field_is_true(res, row, 5);
		}
		all = all && (s->rel != t->rel || s->usable);
		again = again || (s->rel == t->rel && !s->usable && s->repairable);
	}
	set_why(t,
		PQntuples(res) == 0
			? "this role may not read the schema rowfs: SELECT rowfs.allow(role)"
		: hidden ? "row-level security may hide rows from this role"
		: field_is_true(res, 0, 5)
			? "it is a part of another table, whose statements do not tell it what they change"
		: again ? "its files must be counted anew: rowfs check --install"
			: "its triggers are not installed: rowfs check --install");
	return all || hidden;
}

/* What nobody has counted nobody has told of either. */
static const char tell_sql[] = "SELECT rowfs.notify_all($1::regclass)";

/* The slice of T with ID that look-ups go by; NULL if there is none. */
static struct slice *find_usable(const struct table *t, int64_t id) {
	for (int i = 0; i < t->nslices; i++)
		if (t->slices[i]->rel == t->rel && t->slices[i]->usable && t->slices[i]->id == id)
			return t->slices[i];
	return NULL;
}

/* Compares the usable slices with the rows. Those that differ are usable no more, and noted as in
 * doubt if NOTE. Returns true if any does. */
static bool compare(struct db_pool *pool, struct table *t, bool note) {
	AUTO_RESULT PGresult *res = NULL;
	AUTO_DB_ERROR struct db_error err = { 0 };
	AUTO_BUF struct buf wrong = { 0 };
	struct db_param param = { .data = t->ids.data, .len = t->ids.len };
	int rc = db_ask(pool, embedded_watch_compare_sql, &param, 1, ROWS_ANY, "ii?", &res, &err);
	if (rc != 0) {
		log_warning("%s: its summary was not compared with the rows: %s",
			    t->rel->layout_name, err.sentence != NULL ? err.sentence : "?");
		return false;
	}
	for (int row = 0; row < PQntuples(res); row++) {
		struct slice *s = find_usable(t, field_number(res, row, 0));
		int64_t differed = field_is_null(res, row, 1) ? 0 : field_number(res, row, 1);
		if (s == NULL || differed == 0)
			continue;
		s->differed = differed;
		s->usable = false;
		s->counted = false;
		array_add_number(&wrong, s->id);
	}
	if (wrong.len == 0)
		return false;
	array_end(&wrong);
	param = (struct db_param){ .data = wrong.data, .len = wrong.len };
	if (note && (wrong.failed || db_query_text(pool, embedded_watch_differs_sql, &param, 1,
						   DB_REPEATABLE, NULL, NULL, &err) != 0))
		log_error("%s: its summary differs from the rows, and mounts could not be told: %s",
			  t->rel->layout_name, db_error_text(&err));
	set_why(t, "it differs from the rows: rowfs check --install counts anew");
	return true;
}

/* -- installing -------------------------------------------------------------------------------- */

/* The expression for the time of a row that was there before. */
static void put_latest(struct buf *sql, const struct slice *s) {
	AUTO_BUF struct buf ref = { 0 };
	if (s->mtime == NULL) {
		buf_puts(sql, "NULL::timestamptz");
		return;
	}
	put_name(&ref, "r.", s->mtime->name);
	/* a date may be later than any timestamptz */
	buf_printf(
		sql,
		"CASE WHEN pg_catalog.isfinite(%s) THEN least(%s, '9999-12-31')::timestamptz END",
		ref.data, ref.data);
}

static int build_part(struct db_conn *conn, const char *id, const char *latest, const char *part,
		      long long from, struct db_error *err) {
	char lower[NUMBER_TEXT], upper[NUMBER_TEXT];
	struct db_param params[] = { db_text(id), db_text(part), db_text(latest),
				     db_number(lower, from), db_number(upper, from + CHUNK_PAGES) };
	return db_query_on(
		conn, "SELECT rowfs.build($1::bigint, $2::regclass, $3, $4::bigint, $5::bigint)",
		params, 5, NULL, err);
}

/* Counts all parts of the table for the slices in FRESH. */
static int build_all(struct db_conn *conn, struct table *t, const PGresult *fresh,
		     struct db_error *err) {
	AUTO_RESULT PGresult *parts = NULL;
	struct db_param name = { .data = t->name.data, .len = t->name.len };
	int rc = db_ask_on(conn, "SELECT part, pages FROM rowfs.parts($1::regclass)", &name, 1,
			   ROWS_ANY, "tu", &parts, err);
	long long total = 0, done = 0;
	for (int p = 0; rc == 0 && p < PQntuples(parts); p++)
		total += field_number(parts, p, 1) * PQntuples(fresh);
	for (int i = 0; rc == 0 && i < PQntuples(fresh); i++) {
		const char *id = field_text(fresh, i, 0);
		AUTO_BUF struct buf latest = { 0 };
		for (int s = 0; s < t->nslices; s++)
			if (t->slices[s]->id == strtoll(id, NULL, 10))
				put_latest(&latest, t->slices[s]);
		for (int p = 0; rc == 0 && p < PQntuples(parts); p++) {
			long long pages = field_number(parts, p, 1);
			for (long long at = 0; rc == 0 && at < pages; at += CHUNK_PAGES) {
				rc = build_part(conn, id, latest.data, field_text(parts, p, 0), at,
						err);
				done += pages - at < CHUNK_PAGES ? pages - at : CHUNK_PAGES;
				if (t->progress != NULL)
					t->progress(t->arg, t->rel, (int)(100 * done / total));
			}
		}
	}
	return rc;
}

static int install(struct db_conn *conn, void *arg, struct db_error *err) {
	struct table *t = arg;
	AUTO_RESULT PGresult *fresh = NULL;
	struct db_param params[] = { { .data = t->name.data, .len = t->name.len },
				     { .data = t->ids.data, .len = t->ids.len },
				     { .data = t->definitions.data, .len = t->definitions.len } };
	/* what is counted must be what is committed when the lock is there, not before */
	int rc = db_query_on(conn, "SET TRANSACTION ISOLATION LEVEL READ COMMITTED", NULL, 0, NULL,
			     err);
	/* another mount may be counting, for long */
	if (rc == 0)
		rc = mutex_begin(conn, "watch", &params[0], err);
	if (rc == 0)
		rc = db_query_on(
			conn, "SELECT * FROM rowfs.install($1::regclass, $2::bigint[], $3::jsonb)",
			params, 3, &fresh, err);
	if (rc == 0)
		rc = build_all(conn, t, fresh, err);
	if (rc == 0)
		rc = db_query_on(conn, "SELECT rowfs.built($1::bigint[])", &params[1], 1, NULL,
				 err);
	return rc;
}

static void install_table(struct db_pool *pool, struct table *t) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	int rc = mutex_transaction(pool, install, t, &err);
	if (rc != 0) {
		set_why(t, err.sentence != NULL ? err.sentence : strerror(-rc));
		return;
	}
	for (int s = 0; s < t->nslices; s++)
		if (t->slices[s]->rel == t->rel && !t->slices[s]->usable)
			t->slices[s]->made = true;
	(void)ask(pool, t);
}

/* -- all --------------------------------------------------------------------------------------- */

/* What is done for each table that has slices. */
typedef void (*table_fn)(struct db_pool *pool, struct table *t, bool has_streams,
			 enum watch_how how);

static void watch_table(struct db_pool *pool, struct table *t, bool has_streams,
			enum watch_how how) {
	if (!has_streams)
		set_why(t, "the schema rowfs is not installed");
	else if (ask(pool, t) || how == WATCH_LOOK)
		return;
	else if (how == WATCH_INSTALL)
		install_table(pool, t);
	else if (table_fill(t, true) && t->nfilled > 0)
		install_table(pool, t);
}

static void compare_table(struct db_pool *pool, struct table *t, bool has_streams,
			  enum watch_how how) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	struct db_param name = { .data = t->name.data, .len = t->name.len };
	bool mends = how == WATCH_INSTALL;
	if (!has_streams || !compare(pool, t, mends) || !mends)
		return;
	install_table(pool, t);
	if (db_query_text(pool, tell_sql, &name, 1, DB_REPEATABLE, NULL, NULL, &err) != 0)
		log_warning("%s: mounts could not be told that it was counted anew: %s",
			    t->rel->layout_name, err.sentence != NULL ? err.sentence : "?");
}

static int for_tables(struct db_pool *pool, struct tree *tree, table_fn fn, enum watch_how how,
		      watch_progress_fn progress, void *arg) {
	for (int i = 0; i < tree->nslices; i++) {
		bool seen = false;
		for (int k = 0; k < i; k++)
			seen = seen || tree->slices[k]->rel == tree->slices[i]->rel;
		if (seen)
			continue;
		struct table t = { .rel = tree->slices[i]->rel,
				   .slices = tree->slices,
				   .nslices = tree->nslices,
				   .progress = progress,
				   .arg = arg };
		bool filled = table_fill(&t, false);
		if (filled)
			fn(pool, &t, tree->has_streams, how);
		else
			tree->has_streams = false;
		table_free(&t);
		if (!filled)
			return -ENOMEM;
	}
	return sql_use_slices(tree) ? 0 : -ENOMEM;
}

int watch_tree(struct db_pool *pool, struct tree *tree, enum watch_how how,
	       watch_progress_fn progress, void *arg) {
	return for_tables(pool, tree, watch_table, how, progress, arg);
}

int watch_compare(struct db_pool *pool, struct tree *tree, enum watch_how how,
		  watch_progress_fn progress, void *arg) {
	return for_tables(pool, tree, compare_table, how, progress, arg);
}

/* -- afterwards -------------------------------------------------------------------------------- */

int watch_again(struct db_pool *pool, struct tree *tree, struct db_error *err) {
	AUTO_BUF struct buf counted = { 0 }, usable = { 0 }, odd = { 0 };
	AUTO_RESULT PGresult *res = NULL;
	for (int i = 0; i < tree->nslices; i++) {
		if (tree->slices[i]->counted)
			array_add_number(&counted, tree->slices[i]->id);
		if (tree->slices[i]->usable)
			array_add_number(&usable, tree->slices[i]->id);
	}
	if (usable.len == 0)
		return 0;
	array_end(&counted);
	array_end(&usable);
	if (counted.failed || usable.failed)
		return -ENOMEM;
	struct db_param params[] = { { .data = counted.data, .len = counted.len },
				     { .data = usable.data, .len = usable.len } };
	int rc = db_query_text(pool, embedded_watch_odd_sql, params, 2, DB_NO_RETRY, NULL, &res,
			       err);
	if (rc == 0)
		rc = field_judge(res, ROWS_ANY, "i", err);
	if (rc != 0 || PQntuples(res) == 0)
		return rc;
	for (int i = 0; i < tree->nslices; i++) {
		struct slice *s = tree->slices[i];
		for (int row = 0; row < PQntuples(res); row++) {
			if (field_number(res, row, 0) != s->id)
				continue;
			s->counted = false;
			array_add_number(&odd, s->id);
		}
	}
	array_end(&odd);
	if (odd.failed)
		return -ENOMEM;
	struct db_param param = { .data = odd.data, .len = odd.len };
	return db_query_text(pool, embedded_watch_doubt_sql, &param, 1, DB_REPEATABLE, NULL, NULL,
			     err);
}
