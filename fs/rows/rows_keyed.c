#include "fs/rows/rows_keyed.h"

#include "db/field.h"
#include "fs/rows/steps.h"
#include "fs/rows/rows_insert.h"
#include "schema/layout/rights.h"

#include <errno.h>
#include <string.h>

static bool is_document(const struct input *in) {
	return in->w->place->route->kind == KIND_TABLE;
}

static int no_memory(struct db_error *err) {
	return db_error_set(err, ENOMEM, "out of memory");
}

static const struct relation *relation_of(const struct input *in) {
	return in->w->place->scope.tables[in->w->place->target].rel;
}

/* Runs SQL, which is freed, with the path's keys and JSON. */
static int run(struct db_conn *conn, const struct input *in, char *sql, const struct buf *json,
	       PGresult **res, struct db_error *err) {
	AUTO_FREE char *owned = sql;
	struct db_param params[WHERE_PARAMS];
	int n = where_params(in->w, params);
	if (sql == NULL || json->failed)
		return no_memory(err);
	params[n++] = (struct db_param){ .data = json->data, .len = json->len, .oid = DB_TEXT };
	int rc = db_query_on(conn, sql, params, n, res, err);
	rights_explain(relation_of(in), err);
	return rc;
}

/* *N becomes the number that SQL, which is freed, answers. */
static int ask(struct db_conn *conn, const struct input *in, char *sql, const struct buf *json,
	       long *n, struct db_error *err) {
	AUTO_RESULT PGresult *res = NULL;
	int rc = run(conn, in, sql, json, &res, err);
	if (rc == 0)
		rc = field_judge(res, ROWS_ONE, "n", err);
	if (rc == 0)
		*n = field_number(res, 0, 0);
	return rc;
}

int keyed_still_referred(int rc, struct db_error *err) {
	if (rc != -ENOENT || strcmp(err->sqlstate, "23503") != 0)
		return rc;
	AUTO_BUF struct buf said = { 0 };
	buf_puts(&said, err->sentence != NULL ? err->sentence : "");
	return db_error_set(err, ENOTEMPTY,
			    "other rows refer to a row that the text leaves out: remove them first "
			    "(%s)",
			    said.data != NULL ? said.data : "");
}

static int contradicts(const struct input *in, struct db_error *err) {
	if (!is_document(in))
		return rows_contradict(err);
	return db_error_set(
		err, EINVAL,
		"a row of the document contradicts its path: a key or the reference to the parent row is "
		"another one than the path says (leave it out), or its identity cannot be changed");
}

/* -- lines of one shape ------------------------------------------------------------------------ */

static int count(struct db_conn *conn, const struct input *in, struct keyed_lines *lines,
		 struct db_error *err) {
	AUTO_RESULT PGresult *res = NULL;
	int rc = run(conn, in, sql_table_count(in->w->place, lines->shape), lines->json, &res, err);
	if (rc == 0)
		rc = field_judge(res, ROWS_ONE, "nnn", err);
	if (rc != 0)
		return rc;
	lines->there = field_number(res, 0, 0);
	lines->differing = field_number(res, 0, 1);
	lines->fixed = field_number(res, 0, 2);
	return 0;
}

/* A row that has stepped aside and is not updated would keep a value that nobody has written: so it
 * is counted again how many rows are to be updated. */
static int step_aside(struct db_conn *conn, const struct input *in, struct keyed_lines *lines,
		      struct db_error *err) {
	AUTO_RESULT PGresult *res = NULL;
	char *aside = sql_table_aside(in->w->place, lines->shape);
	if (aside == NULL)
		return 0;
	lines->aside = true;
	int rc = run(conn, in, aside, lines->json, &res, err);
	return rc == 0 ? count(conn, in, lines, err) : rc;
}

int keyed_prepare(struct db_conn *conn, const struct input *in, struct keyed_lines *lines,
		  bool careful, struct db_error *err) {
	lines->aside = false;
	int rc = count(conn, in, lines, err);
	return rc == 0 && careful && lines->differing > 0 ? step_aside(conn, in, lines, err) : rc;
}

/* CHANGED rows of LINES were updated. */
static int all_are_back(const struct keyed_lines *lines, long changed, struct db_error *err) {
	return !lines->aside || lines->differing <= changed
		       ? 0
		       : db_error_set(
				 err, EPERM,
				 "a trigger has skipped the change of a row whose unique value "
				 "another row takes over: nothing is changed");
}

int keyed_update(struct db_conn *conn, const struct input *in, const struct keyed_lines *lines,
		 int *written, struct db_error *err) {
	AUTO_RESULT PGresult *res = NULL;
	char *update = lines->differing > 0
			       ? sql_table_update(in->w->place, lines->shape, lines->fixed > 0)
			       : NULL;
	if (update == NULL)
		return 0;
	int rc = run(conn, in, update, lines->json, &res, err);
	if (rc != 0)
		return rc;
	*written += (int)field_changed(res);
	return all_are_back(lines, field_changed(res), err);
}

/* CHANGED rows of LINES were inserted. If they are fewer than the new ones, a trigger has skipped
 * them, or some contradict the path. */
static int all_are_in(struct db_conn *conn, const struct input *in, const struct keyed_lines *lines,
		      long changed, struct db_error *err) {
	struct keyed_lines now = *lines;
	long without = 0;
	if (lines->there + changed == lines->n)
		return 0;
	int rc = ask(conn, in, sql_table_skipped(in->w->place, lines->shape), lines->json, &without,
		     err);
	now.there = 0;
	if (rc == 0 && sql_table_has_key(in->w->place, lines->shape))
		rc = count(conn, in, &now, err);
	return rc == 0 && without + now.there != lines->n ? contradicts(in, err) : rc;
}

static int no_insert(struct db_error *err) {
	return db_error_set(err, EINVAL,
			    "a new row has no columns, or cannot be made through this path");
}

int keyed_insert(struct db_conn *conn, const struct input *in, const struct keyed_lines *lines,
		 int *written, struct db_error *err) {
	AUTO_RESULT PGresult *res = NULL;
	if (lines->there == lines->n)
		return 0;
	char *insert = sql_table_insert(in->w->place, lines->shape);
	if (insert == NULL)
		return no_insert(err);
	int rc = run(conn, in, insert, lines->json, &res, err);
	if (rc != 0)
		return rc;
	*written += (int)field_changed(res);
	return all_are_in(conn, in, lines, field_changed(res), err);
}

/* -- a text ------------------------------------------------------------------------------------ */

/* The text's groups, while it is written. */
struct writing {
	struct keyed *k;
	const struct place *place;
	int n; /* groups */
	struct group {
		struct buf json;
		struct keyed_lines lines;
		bool has_key;
	} * groups;
	struct buf keyed; /* all that show their key */
	int nkeyed;
	bool deletes; /* rows that are absent may have to go */
};

static void writing_end(struct writing *wr) {
	for (int g = 0; g < wr->n; g++)
		buf_free(&wr->groups[g].json);
	free(wr->groups);
	buf_free(&wr->keyed);
}

static bool has_key(const struct writing *wr, const struct shape *shape) {
	return is_document(wr->k->in) ? sql_table_has_key(wr->place, shape)
				      : sql_has_key(wr->place, shape);
}

static int writing_begin(struct writing *wr, struct keyed *k) {
	const struct rows_text *text = k->text;
	*wr = (struct writing){ .k = k, .place = k->in->w->place };
	wr->groups = calloc((size_t)text->ngroups + 1, sizeof(*wr->groups));
	if (wr->groups == NULL)
		return -ENOMEM;
	buf_putc(&wr->keyed, '[');
	for (; wr->n < text->ngroups; wr->n++) {
		const struct line_group *from = &text->groups[wr->n];
		struct group *group = &wr->groups[wr->n];
		group->has_key = has_key(wr, &from->shape);
		buf_putc(&group->json, '[');
		group_put(&group->json, from, 0, from->n);
		buf_putc(&group->json, ']');
		group->lines = (struct keyed_lines){ .shape = &from->shape,
						     .json = &group->json,
						     .n = from->n };
		if (!group->has_key)
			continue;
		group_put(&wr->keyed, from, 0, from->n);
		wr->nkeyed += from->n;
	}
	buf_putc(&wr->keyed, ']');
	return 0;
}

static int refuse_twice(struct db_conn *conn, const struct writing *wr, struct db_error *err) {
	AUTO_RESULT PGresult *res = NULL;
	if (wr->nkeyed < 2)
		return 0;
	int rc = run(conn, wr->k->in, sql_table_twice(wr->place), &wr->keyed, &res, err);
	if (rc == 0 && PQntuples(res) > 0)
		rc = db_error_set(err, EINVAL, "the row with the key %s stands twice in the %s",
				  field_text(res, 0, 0),
				  is_document(wr->k->in) ? "document" : "file");
	return rc;
}

/* A DELETE of no row would fire triggers, and a role that may not delete may write what needs no
 * deletion. */
static int look_for_absent(struct db_conn *conn, struct writing *wr, struct db_error *err) {
	long absent = 1; /* where rows have no key, all of them go */
	char *sql = sql_table_absent(wr->place, wr->k->in->since);
	int rc = sql != NULL ? ask(conn, wr->k->in, sql, &wr->keyed, &absent, err) : 0;
	wr->deletes = absent > 0;
	return rc;
}

static int delete_absent(struct db_conn *conn, const struct writing *wr, struct db_error *err) {
	AUTO_RESULT PGresult *res = NULL;
	int rc = run(conn, wr->k->in, sql_table_delete(wr->place, wr->k->in->since), &wr->keyed,
		     &res, err);
	return keyed_still_referred(rc, err);
}

static int prepare_groups(struct db_conn *conn, struct writing *wr, bool careful,
			  struct db_error *err) {
	int rc = 0;
	for (int g = 0; rc == 0 && g < wr->n; g++)
		if (wr->groups[g].has_key)
			rc = keyed_prepare(conn, wr->k->in, &wr->groups[g].lines, careful, err);
	return rc;
}

/* One statement after the other; what goes makes room for unique values that others take over. */
static int write_apart(struct db_conn *conn, struct writing *wr, bool again, struct db_error *err) {
	struct keyed *k = wr->k;
	int rc = again || !wr->deletes ? 0 : delete_absent(conn, wr, err);
	if (rc == 0)
		rc = prepare_groups(conn, wr, k->careful && !again, err);
	for (int g = 0; rc == 0 && g < wr->n; g++)
		rc = keyed_update(conn, k->in, &wr->groups[g].lines, &k->written, err);
	for (int g = 0; rc == 0 && g < wr->n; g++)
		if (!again || wr->groups[g].has_key)
			rc = keyed_insert(conn, k->in, &wr->groups[g].lines, &k->written, err);
	return rc;
}

/* What is done with a group. */
enum change_of_group { GROUP_UPDATE, GROUP_INSERT };

static int add_group(struct steps *steps, const struct writing *wr, const struct group *group,
		     enum change_of_group change, struct db_error *err) {
	const struct place place = steps_place(steps, wr->place);
	const struct shape *shape = group->lines.shape;
	char *sql = change == GROUP_UPDATE ? sql_table_update(&place, shape, group->lines.fixed > 0)
					   : sql_table_insert(&place, shape);
	if (sql == NULL)
		return change == GROUP_INSERT ? no_insert(err) : 0;
	return steps_add(steps, sql, &group->json) != 0 ? no_memory(err) : 0;
}

/* Adds a part for each group that has something to do in STEP; PART_OF says which: -1: none. */
static int add_groups(struct steps *steps, const struct writing *wr, enum change_of_group change,
		      int *step_of, struct db_error *err) {
	int rc = 0;
	for (int g = 0; rc == 0 && g < wr->n; g++) {
		const struct keyed_lines *lines = &wr->groups[g].lines;
		int before = steps->n;
		if (change == GROUP_UPDATE ? lines->differing > 0 : lines->there < lines->n)
			rc = add_group(steps, wr, &wr->groups[g], change, err);
		step_of[g] = steps->n > before ? before : -1;
	}
	return rc;
}

static int changed_of(const struct steps *steps, int part) {
	return part >= 0 ? steps->all[part].changed : 0;
}

static int judge_steps(struct db_conn *conn, struct writing *wr, const struct steps *steps,
		       const int *updates, const int *inserts, struct db_error *err) {
	struct keyed *k = wr->k;
	int rc = 0;
	for (int g = 0; rc == 0 && g < wr->n; g++) {
		const struct keyed_lines *lines = &wr->groups[g].lines;
		int updated = changed_of(steps, updates[g]);
		int inserted = changed_of(steps, inserts[g]);
		k->written += updated + inserted;
		rc = all_are_back(lines, updated, err);
		if (rc == 0)
			rc = all_are_in(conn, k->in, lines, inserted, err);
	}
	return rc;
}

/* All as one statement. Where rows have gone, others may have gone with them, or lost what they
 * referred to: what the text says of these is written then. */
static int write_together(struct db_conn *conn, struct writing *wr, struct db_error *err) {
	struct keyed *k = wr->k;
	struct steps steps = { .w = k->in->w };
	AUTO_FREE int *step_of = calloc(2 * (size_t)wr->n + 1, sizeof(*step_of));
	if (step_of == NULL)
		return no_memory(err);
	int *updates = step_of, *inserts = step_of + wr->n;
	int rc = prepare_groups(conn, wr, k->careful, err);
	if (rc == 0 && wr->deletes &&
	    steps_add(&steps, sql_table_delete(wr->place, k->in->since), &wr->keyed) != 0)
		rc = no_memory(err);
	if (rc == 0)
		rc = add_groups(&steps, wr, GROUP_UPDATE, updates, err);
	if (rc == 0)
		rc = add_groups(&steps, wr, GROUP_INSERT, inserts, err);
	if (rc == 0 && steps.n > 0)
		rc = steps_run(conn, &steps, err);
	if (rc == 0)
		rc = judge_steps(conn, wr, &steps, updates, inserts, err);
	bool gone = rc == 0 && wr->deletes && steps.all[0].changed > 0;
	steps_free(&steps);
	return gone ? write_apart(conn, wr, true, err) : rc;
}

void keyed_begin(struct keyed *k) {
	k->together = sql_refers_to_itself(k->in->w->place);
	k->careful = false;
}

int keyed_run(struct db_conn *conn, struct keyed *k, struct db_error *err) {
	struct writing wr;
	k->written = 0;
	int rc = writing_begin(&wr, k) == 0 ? 0 : no_memory(err);
	if (rc == 0 && k->careful)
		rc = db_defer_constraints_on(conn, err);
	if (rc == 0)
		rc = refuse_twice(conn, &wr, err);
	if (rc == 0)
		rc = look_for_absent(conn, &wr, err);
	if (rc == 0)
		rc = k->together ? write_together(conn, &wr, err)
				 : write_apart(conn, &wr, false, err);
	if (rc == 0 && k->careful)
		rc = db_check_constraints_on(conn, err);
	writing_end(&wr);
	return rc;
}

bool keyed_other_way(struct keyed *k, const struct db_error *err) {
	bool unique = strcmp(err->sqlstate, "23505") == 0 || strcmp(err->sqlstate, "23P01") == 0;
	/* a trigger changes rows that the statement changes, too; rules; and by a foreign key it is
	 * refused in any way, but only one of several statements says which row is meant */
	bool one = strcmp(err->sqlstate, "27000") == 0 || strcmp(err->sqlstate, "0A000") == 0 ||
		   strcmp(err->sqlstate, "23503") == 0;
	if (unique && !k->careful)
		return k->careful = true;
	if (!one || !k->together)
		return false;
	k->together = false;
	return true;
}
