#include "fs/rows/rows_pairs.h"

#include "db/field.h"
#include "fs/rows/pairing.h"
#include "fs/rows/rows_id.h"
#include "fs/rows/rows_insert.h"
#include "fs/rows/rows_keyed.h"
#include "fs/rows/texts.h"
#include "util/ordered_uuid.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* How it is tried, one after the other. Where lines exchange values that are unique, no order of
 * updates goes. A role may have the right to delete and insert rows and none to update them; and
 * rows of some views cannot be locked. */
enum way {
	WAY_UPDATE,  /* as rows_pairs.h says */
	WAY_CAREFUL, /* the same; rows step aside for each other, and what may be checked late is */
	WAY_INSERT,  /* changed lines are deleted and inserted; rows are read without a lock */
	WAY_ALL,     /* all rows are deleted, all lines inserted: without the right to read */
};

static const struct line *line_of(const struct rows_text *t, int j) {
	return &t->groups[t->lines[j].group].lines[t->lines[j].at];
}

bool pairs_can(const struct place *place, bool edited) {
	return sql_can_pair(place, edited);
}

/* -- one attempt ------------------------------------------------------------------------------- */

/* A row, or a line of a text. */
struct one {
	int what; /* its number as a line of the file; -1: not known */
	int tie, identity;
	int rank; /* of a row */
	/* A row of no line of `was`; or a line of `was` that has no row any more: it is as it was,
	 * and nothing is done. */
	bool left_out;
};

/* One text in it: what its lines are. */
struct side {
	const struct rows_text *text;
	bool says_more[GROUPS_MOST];    /* lines of that group say what no line shows */
	bool as_shown;                  /* its fields are the file's: equal bytes are equal lines */
	struct one *is;                 /* of each line */
	PGresult *answers[GROUPS_MOST]; /* their texts are borrowed */
};

struct attempt {
	struct pairs *p;
	const struct place *place; /* whose columns are those that the text has */
	enum way way;
	struct texts texts;
	PGresult *rows; /* what was read */
	int nrows;
	struct one *is; /* of each row */
	struct side now, was;
	/* The rows and lines that are paired, by their numbers. */
	int *paired_rows, *paired_lines, npaired_rows, npaired_lines;
	int *row_of;  /* of each line of `now`; -1: none */
	bool removed; /* some rows were */
};

static void side_free(struct side *s) {
	free(s->is);
	for (int i = 0; i < GROUPS_MOST; i++)
		PQclear(s->answers[i]);
}

static void attempt_free(struct attempt *a) {
	texts_free(&a->texts);
	side_free(&a->now);
	side_free(&a->was);
	PQclear(a->rows);
	free(a->is);
	free(a->paired_rows);
	free(a->paired_lines);
	free(a->row_of);
}

static int *ints(size_t n) {
	int *all = calloc(n + 1, sizeof(*all));
	for (size_t i = 0; all != NULL && i < n; i++)
		all[i] = -1;
	return all;
}

static struct one *ones(int n) {
	struct one *all = calloc((size_t)n + 1, sizeof(*all));
	for (int i = 0; all != NULL && i < n; i++)
		all[i] = (struct one){ .what = -1, .tie = -1, .identity = -1 };
	return all;
}

static int no_memory(struct db_error *err) {
	return db_error_set(err, ENOMEM, "out of memory");
}

/* Runs SQL with the path's keys and up to two texts. With FORM (of field_judge()) the answer is
 * judged. */
static int run(struct db_conn *conn, const struct attempt *a, const char *sql,
	       const struct buf *one, const struct buf *two, const char *form, PGresult **res,
	       struct db_error *err) {
	struct db_param params[WHERE_PARAMS];
	int n = where_params(a->p->in->w, params);
	if (sql == NULL || (one != NULL && one->failed) || (two != NULL && two->failed))
		return no_memory(err);
	if (one != NULL)
		params[n++] =
			(struct db_param){ .data = one->data, .len = one->len, .oid = DB_TEXT };
	if (two != NULL)
		params[n++] =
			(struct db_param){ .data = two->data, .len = two->len, .oid = DB_TEXT };
	int rc = db_query_on(conn, sql, params, n, res, err);
	return rc == 0 && form != NULL ? field_judge(*res, ROWS_ANY, form, err) : rc;
}

/* The number of a field's text; -1 for NULL; -ENOMEM. */
static int field_number_of(struct texts *t, const PGresult *res, int row, int column) {
	if (field_is_null(res, row, column))
		return -1;
	return text_number(t, field_text(res, row, column), field_len(res, row, column));
}

/* What the server says of a line, as the number of its text. */
static int note_line(struct texts *t, const PGresult *res, int row, int line, int tie,
		     int identity) {
	int what = field_number_of(t, res, row, line);
	int same_tie = field_number_of(t, res, row, tie);
	int same = field_number_of(t, res, row, identity);
	if (what == -ENOMEM || same_tie == -ENOMEM || same == -ENOMEM)
		return -ENOMEM;
	t->all[what].line = what;
	t->all[what].tie = same_tie;
	t->all[what].identity = same >= 0 ? same : what;
	return what;
}

static void take_what(const struct attempt *a, struct one *one, int what) {
	one->what = what;
	one->tie = a->texts.all[what].tie;
	one->identity = a->texts.all[what].identity;
}

static int read_rows(struct db_conn *conn, struct attempt *a, struct db_error *err) {
	/* of an edited file, others may have added some rows */
	uint64_t most = a->p->in->most * (a->p->was != NULL ? 4 : 1);
	AUTO_FREE char *sql = sql_pairs_read(a->place, a->way <= WAY_CAREFUL, a->p->in->since);
	AUTO_BUF struct buf limit = { 0 };
	buf_printf(&limit, "%" PRIu64, most);
	int rc = run(conn, a, sql, &limit, NULL, PAIRS_FORM, &a->rows, err);
	if (rc != 0)
		return rc;
	a->nrows = PQntuples(a->rows);
	a->is = ones(a->nrows);
	if (a->is == NULL)
		return no_memory(err);
	for (int i = 0; i < a->nrows; i++) {
		int what = note_line(&a->texts, a->rows, i, PAIR_LINE, PAIR_TIE, PAIR_IDENTITY);
		if (what < 0)
			return no_memory(err);
		take_what(a, &a->is[i], what);
		a->is[i].rank = (int)field_number(a->rows, i, PAIR_RANK);
	}
	return 0;
}

/* -- what the lines are ------------------------------------------------------------------------ */

static int side_begin(struct side *s, const struct rows_text *text, const struct place *place) {
	s->text = text;
	for (int g = 0; g < text->ngroups; g++)
		s->says_more[g] = sql_pairs_say_more(place, &text->groups[g].shape);
	s->as_shown = rows_columns_as_shown(text->in->lines, text->in->w->place);
	s->is = ones(text->nlines);
	return s->is != NULL ? 0 : -ENOMEM;
}

/* The number of line J's bytes; -1: they say nothing by themselves. */
static int bytes_of(struct attempt *a, const struct side *s, int j) {
	const struct line *line = line_of(s->text, j);
	return s->as_shown ? text_number(&a->texts, s->text->in->raw + line->raw_at, line->raw_len)
			   : -1;
}

/* Lines whose bytes are a row's line. *OTHERS: how many are not. */
static int know_by_bytes(struct attempt *a, struct side *s, int *others) {
	*others = 0;
	for (int j = 0; j < s->text->nlines; j++) {
		int bytes = bytes_of(a, s, j);
		if (bytes == -ENOMEM)
			return -ENOMEM;
		if (bytes >= 0 && a->texts.all[bytes].line >= 0)
			take_what(a, &s->is[j], a->texts.all[bytes].line);
		else
			++*others;
	}
	return 0;
}

/* Asks the server what the lines of group G would be in the file that are not known: numbers
 * and blanks may be written in other ways. */
static int ask_group(struct db_conn *conn, struct attempt *a, struct side *s, int g,
		     struct db_error *err) {
	const struct line_group *group = &s->text->groups[g];
	AUTO_BUF struct buf json = { 0 };
	int asked = 0, n = 0;
	buf_putc(&json, '[');
	for (int j = 0; j < s->text->nlines; j++) {
		if (s->text->lines[j].group != g || s->is[j].what >= 0)
			continue;
		group_put(&json, group, s->text->lines[j].at, s->text->lines[j].at + 1);
		asked++;
	}
	buf_putc(&json, ']');
	if (asked == 0)
		return 0;
	AUTO_FREE char *sql = sql_pairs_lines(a->place, &group->shape);
	int rc = run(conn, a, sql, &json, NULL, LINES_FORM, &s->answers[g], err);
	if (rc == 0 && PQntuples(s->answers[g]) != asked)
		rc = db_error_set(err, EIO, "the server has answered for other lines");
	for (int j = 0; rc == 0 && j < s->text->nlines; j++) {
		if (s->text->lines[j].group != g || s->is[j].what >= 0)
			continue;
		int what = note_line(&a->texts, s->answers[g], n++, LINE_TEXT, LINE_TIE,
				     LINE_IDENTITY);
		int bytes = what >= 0 ? bytes_of(a, s, j) : -ENOMEM;
		if (bytes == -ENOMEM)
			return no_memory(err);
		if (bytes >= 0) /* the same bytes in the other text */
			a->texts.all[bytes].line = what;
		take_what(a, &s->is[j], what);
	}
	return rc;
}

static int ask(struct db_conn *conn, struct attempt *a, struct side *s, struct db_error *err) {
	int rc = 0;
	for (int g = 0; rc == 0 && g < s->text->ngroups; g++)
		rc = ask_group(conn, a, s, g, err);
	return rc;
}

/* True if each row has a line that is equal to it: no other line can be. */
static bool all_rows_known(const struct attempt *a) {
	AUTO_FREE int *lines = calloc((size_t)a->texts.n + 1, sizeof(*lines));
	bool all = lines != NULL;
	for (int j = 0; all && j < a->now.text->nlines; j++)
		if (a->now.is[j].what >= 0)
			lines[a->now.is[j].what]++;
	for (int i = 0; all && i < a->nrows; i++)
		all = lines[a->is[i].what]-- > 0;
	return all;
}

static int know_lines(struct db_conn *conn, struct attempt *a, struct db_error *err) {
	int others = 0, rc = 0;
	if (a->p->was != NULL) {
		rc = side_begin(&a->was, a->p->was, a->place);
		if (rc == 0)
			rc = know_by_bytes(a, &a->was, &others);
		if (rc != 0)
			return no_memory(err);
		rc = others > 0 ? ask(conn, a, &a->was, err) : 0;
	}
	if (rc != 0)
		return rc;
	if (side_begin(&a->now, a->p->text, a->place) != 0 ||
	    know_by_bytes(a, &a->now, &others) != 0)
		return no_memory(err);
	bool ties = sql_pairs_order(a->place) == PAIRING_TIES;
	if (others == 0 || a->nrows == 0 || (!ties && all_rows_known(a)))
		return 0;
	return ask(conn, a, &a->now, err);
}

/* -- an edited file ---------------------------------------------------------------------------- */

static int changed_by_others(struct db_error *err) {
	return db_error_set(
		err, EBUSY,
		"a line that is changed or left out was changed by somebody else since the file "
		"was read: read it again, and save again; nothing is changed");
}

/* Only rows of lines that were there count; and of the lines, not those that are as they
 * were although somebody else has changed their rows. */
static int keep_to_edit(struct attempt *a, struct db_error *err) {
	AUTO_FREE int *missing = calloc((size_t)a->texts.n + 1, sizeof(*missing));
	if (missing == NULL)
		return no_memory(err);
	for (int j = 0; j < a->was.text->nlines; j++)
		missing[a->was.is[j].what]++;
	for (int i = 0; i < a->nrows; i++) {
		a->is[i].left_out = missing[a->is[i].what] == 0;
		missing[a->is[i].what] -= !a->is[i].left_out;
	}
	for (int j = 0; j < a->now.text->nlines; j++) {
		int what = a->now.is[j].what;
		if (what < 0 || missing[what] == 0)
			continue;
		a->now.is[j].left_out = true;
		missing[what]--;
	}
	bool lost = false;
	for (int i = 0; i < a->texts.n; i++)
		lost = lost || missing[i] > 0;
	/* a line with its key changes that row, whatever it says now */
	return lost && a->p->keyed == NULL ? changed_by_others(err) : 0;
}

/* -- pairing ----------------------------------------------------------------------------------- */

static size_t in_common(const char *a, size_t alen, const char *b, size_t blen) {
	size_t most = alen < blen ? alen : blen, start = 0, end = 0;
	while (start < most && a[start] == b[start])
		start++;
	while (end < most - start && a[alen - 1 - end] == b[blen - 1 - end])
		end++;
	return start + end;
}

static size_t likeness(void *arg, int row, int line) {
	const struct attempt *a = arg;
	int what = a->now.is[a->paired_lines[line]].what;
	const struct text *x = &a->texts.all[a->is[a->paired_rows[row]].what];
	const struct text *y = what >= 0 ? &a->texts.all[what] : NULL;
	return y != NULL ? in_common(x->data, x->len, y->data, y->len) : 0;
}

/* True if new rows would not stand behind the old ones: their ids are random, and not those
 * of rowfs. */
static bool stands_anywhere(const struct attempt *a) {
	char next[37];
	if (rows_id_column(a->place) == NULL)
		return false;
	ordered_uuid(next);
	for (int i = 0; i < a->nrows; i++) {
		const char *id = field_text(a->rows, i, PAIR_KEY); /* ["..."] */
		if (field_len(a->rows, i, PAIR_KEY) == strlen("[\"\"]") + strlen(next) &&
		    memcmp(id + 2, next, strlen(next)) > 0)
			return true;
	}
	return false;
}

/* Of an edited file, a line that is as it was is not touched, wherever a new one is read. */
static enum pairing_order order_of(const struct attempt *a) {
	bool more = a->now.text->nlines > a->nrows;
	if (a->p->was != NULL || (more && stands_anywhere(a)))
		return PAIRING_FREE;
	return sql_pairs_order(a->place);
}

static int pair(struct attempt *a) {
	size_t nrows = (size_t)a->nrows, nlines = (size_t)a->now.text->nlines;
	AUTO_FREE int *numbers = ints(3 * (nrows + nlines));
	a->paired_rows = ints(nrows);
	a->paired_lines = ints(nlines);
	a->row_of = ints(nlines);
	if (numbers == NULL || a->paired_rows == NULL || a->paired_lines == NULL ||
	    a->row_of == NULL)
		return -ENOMEM;
	int *rows = numbers, *row_ties = rows + nrows, *ranks = row_ties + nrows;
	int *lines = ranks + nrows, *line_ties = lines + nlines, *row_of = line_ties + nlines;
	int unknown = a->texts.n; /* a line that is not known is equal to none */
	bool keyed = a->p->keyed != NULL;
	for (int i = 0; i < a->nrows; i++) {
		const struct one *row = &a->is[i];
		int k = a->npaired_rows;
		if (row->left_out)
			continue;
		rows[k] = keyed ? row->what : row->identity;
		row_ties[k] = row->tie >= 0 ? row->tie : 0;
		ranks[k] = row->rank;
		a->paired_rows[a->npaired_rows++] = i;
	}
	for (int j = 0; j < a->now.text->nlines; j++) {
		const struct one *line = &a->now.is[j];
		int k = a->npaired_lines;
		if (line->left_out)
			continue;
		lines[k] = line->what < 0 ? unknown++ : keyed ? line->what : line->identity;
		line_ties[k] = line->tie >= 0 ? line->tie : 0;
		a->paired_lines[a->npaired_lines++] = j;
	}
	const struct pairing p = {
		.order = order_of(a),
		.equal_only = keyed,
		.nrows = a->npaired_rows,
		.nlines = a->npaired_lines,
		.rows = rows,
		.lines = lines,
		.row_ties = row_ties,
		.line_ties = line_ties,
		.ranks = ranks,
		.likeness = likeness,
		.arg = a,
		.row_of = row_of,
	};
	int rc = pairing_make(&p);
	for (int k = 0; rc == 0 && k < a->npaired_lines; k++)
		if (row_of[k] >= 0)
			a->row_of[a->paired_lines[k]] = a->paired_rows[row_of[k]];
	return rc;
}

/* Line J is not as its row's. */
static bool is_changed(const struct attempt *a, int j) {
	return a->row_of[j] >= 0 && (a->now.is[j].what != a->is[a->row_of[j]].what ||
				     a->now.says_more[a->now.text->lines[j].group]);
}

/* Nothing is updated: a changed line is a row less and a row more. Where a new row can only
 * stand behind the others, so are all behind it. */
static void part_changed(struct attempt *a) {
	bool in_order = order_of(a) == PAIRING_IN_ORDER, parted = false;
	for (int j = 0; j < a->now.text->nlines; j++) {
		if (a->now.is[j].left_out)
			continue;
		bool part = is_changed(a, j) || (in_order && parted);
		parted = parted || part || a->row_of[j] < 0;
		if (part)
			a->row_of[j] = -1;
	}
}

/* -- the statements ---------------------------------------------------------------------------- */

static void put_key(struct buf *out, const struct attempt *a, int row) {
	buf_puts(out, out->len > 1 ? "," : "");
	buf_add(out, field_text(a->rows, row, PAIR_KEY), field_len(a->rows, row, PAIR_KEY));
}

/* The keys of the rows that a line has, or of those that none has, as an array. Returns how
 * many. */
static int put_keys(struct buf *out, const struct attempt *a, bool with_line) {
	AUTO_FREE bool *has = calloc((size_t)a->nrows + 1, sizeof(*has));
	int n = 0;
	if (has == NULL)
		return -ENOMEM;
	for (int j = 0; j < a->now.text->nlines; j++)
		if (a->row_of[j] >= 0)
			has[a->row_of[j]] = true;
	buf_putc(out, '[');
	for (int i = 0; i < a->nrows; i++) {
		if (has[i] != with_line || a->is[i].left_out)
			continue;
		put_key(out, a, i);
		n++;
	}
	buf_putc(out, ']');
	return n;
}

static int remove_rows(struct db_conn *conn, struct attempt *a, struct db_error *err) {
	const struct pairs *p = a->p;
	int table = a->place->target;
	/* where the lock may have left rows out that may be deleted, all goes that has no line */
	bool others = p->was == NULL && !a->place->scope.tables[table].rel->takes_copy;
	AUTO_BUF struct buf keys = { 0 };
	AUTO_RESULT PGresult *res = NULL;
	int n = put_keys(&keys, a, others);
	if (n < 0)
		return no_memory(err);
	if (n == 0 && !others)
		return 0;
	a->removed = true;
	AUTO_FREE char *sql = sql_pairs_delete(a->place, others, p->keyed != NULL, p->in->since);
	int rc = p->keyed != NULL ? run(conn, a, sql, p->keyed, &keys, NULL, &res, err)
				  : run(conn, a, sql, &keys, NULL, NULL, &res, err);
	rc = keyed_still_referred(rc, err);
	bool locked = a->way <= WAY_CAREFUL;
	if (rc == 0 && p->was != NULL && p->keyed == NULL && !locked && field_changed(res) != n)
		rc = changed_by_others(err);
	return rc;
}

/* Rows that went with others that they refer to: their lines get new ones. */
static int find_gone(struct db_conn *conn, struct attempt *a, struct db_error *err) {
	struct attempt after = { .p = a->p, .place = a->place, .way = WAY_INSERT };
	struct texts keys = { 0 };
	AUTO_FREE bool *there = NULL;
	int rc = read_rows(conn, &after, err);
	for (int i = 0; rc == 0 && i < after.nrows; i++)
		if (field_number_of(&keys, after.rows, i, PAIR_KEY) < 0)
			rc = no_memory(err);
	int n = keys.n;
	for (int j = 0; rc == 0 && j < a->now.text->nlines; j++) {
		if (a->row_of[j] < 0)
			continue;
		int key = field_number_of(&keys, a->rows, a->row_of[j], PAIR_KEY);
		if (key == -ENOMEM)
			rc = no_memory(err);
		else if (key >= n)
			a->row_of[j] = -1;
	}
	texts_free(&keys);
	attempt_free(&after);
	return rc;
}

/* The changed lines of group G as {"k": key, "j": line}. Returns how many. */
static int put_updates(struct buf *out, const struct attempt *a, int g) {
	const struct rows_text *t = a->now.text;
	int n = 0;
	buf_putc(out, '[');
	for (int j = 0; j < t->nlines; j++) {
		if (t->lines[j].group != g || !is_changed(a, j))
			continue;
		const struct line *line = line_of(t, j);
		buf_puts(out, n++ > 0 ? ",{\"k\":" : "{\"k\":");
		buf_add(out, field_text(a->rows, a->row_of[j], PAIR_KEY),
			field_len(a->rows, a->row_of[j], PAIR_KEY));
		buf_puts(out, ",\"j\":");
		buf_add(out, t->groups[g].json.data + line->json_at, line->json_len);
		buf_putc(out, '}');
	}
	buf_putc(out, ']');
	return n;
}

/* A trigger has skipped the update of some rows: their old lines must not come back. They
 * are deleted, and their lines are to be inserted, which the trigger may skip as well.
 * UPDATED: the answer of the UPDATE of group G with JSON. */
static int part_skipped(struct db_conn *conn, struct attempt *a, int g, const struct buf *json,
			const PGresult *updated, struct db_error *err) {
	const struct rows_text *t = a->now.text;
	AUTO_FREE char *differing = sql_pairs_differing(a->place, &t->groups[g].shape);
	AUTO_FREE char *removing = sql_pairs_delete(a->place, false, false, NULL);
	AUTO_FREE bool *skipped = calloc((size_t)t->nlines + 2, sizeof(*skipped));
	AUTO_RESULT PGresult *res = NULL;
	AUTO_BUF struct buf keys = { 0 };
	if (skipped == NULL)
		return no_memory(err);
	int rc = run(conn, a, differing, json, NULL, "n", &res, err);
	for (int i = 0; rc == 0 && i < PQntuples(res); i++)
		if (field_number(res, i, 0) <= t->nlines)
			skipped[field_number(res, i, 0)] = true;
	for (int i = 0; rc == 0 && i < PQntuples(updated); i++)
		if (field_number(updated, i, 0) <= t->nlines)
			skipped[field_number(updated, i, 0)] = false;
	buf_putc(&keys, '[');
	for (int j = 0, number = 0; rc == 0 && j < t->nlines; j++) {
		if (t->lines[j].group != g || !is_changed(a, j) || !skipped[++number])
			continue;
		put_key(&keys, a, a->row_of[j]);
		a->row_of[j] = -1;
	}
	bool any = keys.len > 1;
	buf_putc(&keys, ']');
	return rc == 0 && any ? run(conn, a, removing, &keys, NULL, NULL, NULL, err) : rc;
}

/* A row that the rule keeps as it is must not be deleted for its line. */
static int replaced_by_rule(struct db_error *err) {
	int rc = db_error_set(err, EPERM,
			      "a rule puts something else in place of the change of a row: nothing "
			      "is changed");
	/* see rows_contradict() */
	snprintf(err->sqlstate, sizeof(err->sqlstate), "44000");
	return rc;
}

static int update_group(struct db_conn *conn, struct attempt *a, int g, struct db_error *err) {
	const struct shape *shape = &a->now.text->groups[g].shape;
	AUTO_RESULT PGresult *res = NULL, *there = NULL;
	AUTO_BUF struct buf json = { 0 };
	int n = put_updates(&json, a, g);
	if (n == 0)
		return 0;
	AUTO_FREE char *update = sql_pairs_update(a->place, shape);
	AUTO_FREE char *count = sql_pairs_count(a->place, shape);
	bool rules = a->place->scope.tables[a->place->target].rel->rules.n > 0;
	int rc = run(conn, a, update, &json, NULL, rules ? NULL : "n", &res, err);
	int changed = rc == 0 ? (int)field_changed(res) : 0;
	a->p->written += changed;
	if (rc != 0 || changed == n)
		return rc;
	if (rules)
		return replaced_by_rule(err);
	rc = run(conn, a, count, &json, NULL, NULL, &there, err);
	/* by its place in the table, a row that was updated is not found again */
	int64_t found = field_number(there, 0, 0);
	bool all = found + (sql_pairs_have_key(a->place) ? 0 : changed) == n;
	if (rc == 0 && !all)
		rc = rows_contradict(err);
	return rc == 0 ? part_skipped(conn, a, g, &json, res, err) : rc;
}

/* Has the rows of group G that are updated step aside for each other. */
static int step_aside(struct db_conn *conn, struct attempt *a, int g, struct db_error *err) {
	AUTO_BUF struct buf json = { 0 };
	AUTO_FREE char *aside = sql_pairs_aside(a->place, &a->now.text->groups[g].shape);
	if (aside == NULL || put_updates(&json, a, g) == 0)
		return 0;
	return run(conn, a, aside, &json, NULL, NULL, NULL, err);
}

static int update_groups(struct db_conn *conn, struct attempt *a, struct db_error *err) {
	int rc = 0;
	for (int g = 0; rc == 0 && a->way == WAY_CAREFUL && g < a->now.text->ngroups; g++)
		rc = step_aside(conn, a, g, err);
	for (int g = 0; rc == 0 && g < a->now.text->ngroups; g++)
		rc = update_group(conn, a, g, err);
	return rc;
}

/* Which lines of group G have no row, LINES. Returns how many. */
static int without_row(const struct attempt *a, int g, int *lines) {
	const struct rows_text *t = a->now.text;
	int n = 0;
	for (int j = 0; j < t->nlines; j++)
		if (t->lines[j].group == g && a->row_of[j] < 0 && !a->now.is[j].left_out)
			lines[n++] = t->lines[j].at;
	return n;
}

static int insert_lines(struct db_conn *conn, struct attempt *a, int g, const int *lines, int n,
			struct db_error *err) {
	struct insert insert = { 0 };
	int rc = insert_make(a->place, &a->now.text->groups[g], lines, n, &insert);
	if (rc != 0)
		rc = db_error_set(err, -rc, "%s",
				  rc == -EINVAL ? "the lines give no column of the table a value"
						: "out of memory");
	if (rc == 0)
		rc = insert_run(conn, a->p->in, &insert, err);
	a->p->written += n;
	insert_free(&insert);
	return rc;
}

/* Lines of an edited file that show their key, of one group. */
struct edited {
	struct buf json;
	struct keyed_lines lines;
};

static void edited_free(struct edited *all, int n) {
	for (int g = 0; all != NULL && g < n; g++)
		buf_free(&all[g].json);
	free(all);
}

static int write_keyed(struct db_conn *conn, struct attempt *a, struct edited *all,
		       struct db_error *err) {
	const struct input *in = a->p->in;
	int rc = 0, n = a->now.text->ngroups;
	for (int g = 0; rc == 0 && g < n; g++)
		if (all[g].lines.n > 0)
			rc = keyed_prepare(conn, in, &all[g].lines, a->way == WAY_CAREFUL, err);
	for (int g = 0; rc == 0 && g < n; g++)
		if (all[g].lines.n > 0)
			rc = keyed_update(conn, in, &all[g].lines, &a->p->written, err);
	for (int g = 0; rc == 0 && g < n; g++)
		if (all[g].lines.n > 0)
			rc = keyed_insert(conn, in, &all[g].lines, &a->p->written, err);
	return rc;
}

/* Inserts the lines that have no row; those that show their key may have one, which is updated. */
static int insert_groups(struct db_conn *conn, struct attempt *a, struct db_error *err) {
	const struct rows_text *t = a->now.text;
	struct edited *all = calloc((size_t)t->ngroups + 1, sizeof(*all));
	AUTO_FREE int *lines = ints((size_t)t->nlines);
	int rc = all != NULL && lines != NULL ? 0 : no_memory(err);
	for (int g = 0; rc == 0 && g < t->ngroups; g++) {
		const struct line_group *group = &t->groups[g];
		int n = without_row(a, g, lines);
		if (n > 0 && !sql_has_key(a->place, &group->shape)) {
			rc = insert_lines(conn, a, g, lines, n, err);
			continue;
		}
		buf_putc(&all[g].json, '[');
		for (int i = 0; i < n; i++)
			group_put(&all[g].json, group, lines[i], lines[i] + 1);
		buf_putc(&all[g].json, ']');
		all[g].lines = (struct keyed_lines){ .shape = &group->shape,
						     .json = &all[g].json,
						     .n = n };
	}
	if (rc == 0)
		rc = write_keyed(conn, a, all, err);
	edited_free(all, t->ngroups);
	return rc;
}

/* -- all of it --------------------------------------------------------------------------------- */

/* Deletes all rows and inserts all lines. */
static int replace_all(struct db_conn *conn, struct attempt *a, struct db_error *err) {
	AUTO_FREE char *sql = sql_remove_older(a->place, a->p->in->since, false);
	a->row_of = ints((size_t)a->p->text->nlines);
	if (sql == NULL || a->row_of == NULL || side_begin(&a->now, a->p->text, a->place) != 0)
		return no_memory(err);
	int rc = keyed_still_referred(run(conn, a, sql, NULL, NULL, NULL, NULL, err), err);
	return rc == 0 ? insert_groups(conn, a, err) : rc;
}

/* True if UPDATE can give lines of these columns to rows. */
static bool can_update(const struct attempt *a) {
	bool can = true;
	for (int g = 0; can && g < a->now.text->ngroups; g++) {
		AUTO_FREE char *sql = sql_pairs_update(a->place, &a->now.text->groups[g].shape);
		can = sql != NULL;
	}
	return can;
}

static int bring(struct db_conn *conn, struct attempt *a, struct db_error *err) {
	const struct pairs *p = a->p;
	int rc = know_lines(conn, a, err);
	if (rc == 0 && p->was != NULL)
		rc = keep_to_edit(a, err);
	if (rc == 0 && pair(a) != 0)
		rc = no_memory(err);
	if (rc != 0)
		return rc;
	if (a->way == WAY_INSERT || !can_update(a))
		part_changed(a);
	/* What goes makes room for unique values that others take over; but first, rows that refer
	 * to it change. */
	bool tree = sql_refers_to_itself(a->place);
	if (tree && a->way == WAY_UPDATE)
		rc = update_groups(conn, a, err);
	if (rc == 0)
		rc = remove_rows(conn, a, err);
	if (rc == 0 && a->removed && tree)
		rc = find_gone(conn, a, err);
	if (rc == 0 && !(tree && a->way == WAY_UPDATE))
		rc = update_groups(conn, a, err);
	return rc == 0 ? insert_groups(conn, a, err) : rc;
}

static int try_way(struct db_conn *conn, void *arg, struct db_error *err) {
	struct attempt *a = arg;
	const struct pairs *p = a->p;
	bool anew = p->was == NULL, all = anew && (a->way == WAY_ALL || p->text->nlines == 0);
	a->p->written = 0;
	int rc = a->way == WAY_CAREFUL ? db_defer_constraints_on(conn, err) : 0;
	if (rc == 0 && !all)
		rc = read_rows(conn, a, err);
	if (rc != 0)
		return rc;
	if (anew && a->nrows == 0) /* none, or too many to be held */
		return replace_all(conn, a, err);
	rc = bring(conn, a, err);
	return rc == 0 && a->way == WAY_CAREFUL ? db_check_constraints_on(conn, err) : rc;
}

static bool is_one_of(const char *state, const char *const *states, size_t n) {
	for (size_t i = 0; i < n; i++)
		if (strcmp(state, states[i]) == 0)
			return true;
	return false;
}

/* The next way, if ERR may be one of WAY, and not of the lines; else LAST + 1. Rows are not
 * replaced by others for the sake of unique values, if that loses what their lines do not show. */
static enum way next_way(const struct attempt *a, enum way last, const struct db_error *err) {
	static const char *const unique[] = { "23505", "23P01" };
	static const char *const others[] = { "42501", "0A000", "55000" };
	if (a->way == WAY_UPDATE && is_one_of(err->sqlstate, unique, 2))
		return WAY_CAREFUL;
	bool replace = is_one_of(err->sqlstate, others, 3) ||
		       (is_one_of(err->sqlstate, unique, 2) && !sql_rows_have_more(a->place));
	if (!replace || a->way == last)
		return last + 1;
	return a->way < WAY_INSERT ? WAY_INSERT : a->way + 1;
}

static bool has_column(const struct rows_text *text, const struct column *column) {
	for (int g = 0; g < text->ngroups; g++)
		if (shape_has(&text->groups[g].shape, column->name))
			return true;
	return false;
}

/* PLACE as if its files showed only the columns that the text has, since lines cannot differ
 * in the others. Its columns are owned. False if out of memory. */
static bool place_of_text(const struct pairs *p, struct place *place) {
	const struct place *all = p->in->w->place;
	*place = *all;
	place->ncolumns = 0;
	place->columns = calloc((size_t)all->ncolumns + 1, sizeof(const struct column *));
	for (int i = 0; place->columns != NULL && i < all->ncolumns; i++)
		if (p->was != NULL || has_column(p->text, all->columns[i]))
			place->columns[place->ncolumns++] = all->columns[i];
	if (place->columns != NULL && place->ncolumns == 0)
		for (; place->ncolumns < all->ncolumns; place->ncolumns++)
			place->columns[place->ncolumns] = all->columns[place->ncolumns];
	return place->columns != NULL;
}

int pairs_run(struct db_conn *conn, struct pairs *p, struct db_error *err) {
	AUTO_FREE const struct column **columns = NULL;
	struct place place;
	if (!place_of_text(p, &place))
		return no_memory(err);
	columns = place.columns;
	enum way last = p->was != NULL ? WAY_INSERT : WAY_ALL;
	enum way way = p->all ? last : WAY_UPDATE;
	int rc = -EINVAL;
	while (way <= last) {
		struct attempt a = { .p = p, .place = &place, .way = way };
		db_error_clear(err);
		rc = way < last ? db_part_on(conn, try_way, &a, err) : try_way(conn, &a, err);
		way = rc == 0 ? last + 1 : next_way(&a, last, err);
		attempt_free(&a);
	}
	return rc;
}
