#include "fs/docs/table.h"

#include "db/field.h"
#include "fs/cache/coherence.h"
#include "fs/rows/rows_pairs.h"
#include "fs/names/statement.h"
#include "fs/stream/once.h"

#include <errno.h>
#include <string.h>

/* Objects that have the same keys: one statement serves them all. */
struct group {
	struct shape shape;
	struct buf json;                         /* the array of them */
	bool keyed;                              /* they say which row they are */
	long n, there;                           /* how many; how many of them have a row already */
	char *count, *update, *insert, *skipped; /* owned */
};

struct table_tx {
	struct call *call;
	const struct where *w, *from;
	struct group *groups;
	int ngroups;
	struct buf keyed; /* all objects that say which row they are, an array */
	long nkeyed;
	char *twice, *remove; /* owned; NULL where the rows have no key */
	/* The objects, where they do not show their key and are paired with the rows; NULL: the
	 * groups hold them. */
	struct rows_text *text;
	struct pairs *pairs;
};

/* -- the document's parts ---------------------------------------------------------------------- */

static void tx_free(struct table_tx *tx) {
	for (int i = 0; i < tx->ngroups; i++) {
		struct group *group = &tx->groups[i];
		shape_free(&group->shape);
		buf_free(&group->json);
		free(group->count);
		free(group->update);
		free(group->insert);
		free(group->skipped);
	}
	free(tx->groups);
	buf_free(&tx->keyed);
	free(tx->twice);
	free(tx->remove);
}

static int no_memory(struct call *call) {
	return call_error(call, ENOMEM, "out of memory");
}

/* Puts the object's key into it: {"name": "a", ...} for "a": {...}. */
static int add_name(struct table_tx *tx, const char *json, struct element *e, struct buf *out) {
	const char *by = tx->w->place->by->name;
	if (e->watched_len > 0) {
		buf_add(out, json + e->at, e->len);
		return json_is_text(json + e->watched_at, e->watched_len, e->name)
			       ? 0
			       : call_error(
					 tx->call, EINVAL,
					 "the key \"%s\" stands before an object whose \"%s\" is "
					 "another one: leave it out there",
					 e->name, by);
	}
	buf_putc(out, '{');
	buf_json_string(out, by, strlen(by));
	buf_putc(out, ':');
	buf_json_string(out, e->name, strlen(e->name));
	buf_puts(out, e->shape.n > 0 ? "," : "");
	buf_add(out, json + e->at + 1, e->len - 1);
	return shape_add(&e->shape, by, strlen(by)) ? 0 : no_memory(tx->call);
}

/* The group of SHAPE, which a new one takes over; NULL if there are too many. */
static struct group *find_group(struct table_tx *tx, struct shape *shape) {
	for (int i = tx->ngroups - 1; i >= 0; i--)
		if (shape_equal(&tx->groups[i].shape, shape))
			return &tx->groups[i];
	if (tx->ngroups == GROUPS_MOST)
		return NULL;
	struct group *group = &tx->groups[tx->ngroups++];
	group->keyed = sql_table_has_key(tx->w->place, shape);
	group->shape = *shape;
	memset(shape, 0, sizeof(*shape));
	return group;
}

static int add_element(struct table_tx *tx, const char *json, struct element *e) {
	AUTO_BUF struct buf text = { 0 };
	int rc = 0;
	if (tx->w->place->by != NULL)
		rc = add_name(tx, json, e, &text);
	else
		buf_add(&text, json + e->at, e->len);
	if (rc == 0)
		rc = statement_check_shape(tx->call, tx->w->place, &e->shape);
	if (rc != 0)
		return rc;
	shape_sort(&e->shape);
	if (tx->text != NULL) {
		const struct line line = { .raw_at = e->at, .raw_len = e->len };
		return rows_text_add(tx->text->in, tx->text, &line, &e->shape, &text);
	}
	struct group *group = find_group(tx, &e->shape);
	if (group == NULL)
		return call_error(tx->call, EINVAL,
				  "objects with more than %d different sets of keys", GROUPS_MOST);
	buf_putc(&group->json, group->n++ > 0 ? ',' : '[');
	buf_add(&group->json, text.data, text.len);
	if (group->keyed) {
		buf_putc(&tx->keyed, tx->nkeyed++ > 0 ? ',' : '[');
		buf_add(&tx->keyed, text.data, text.len);
	}
	return text.failed || group->json.failed || tx->keyed.failed ? no_memory(tx->call) : 0;
}

/* True if nothing in the document says which row is which. */
static bool is_to_be_paired(const struct place *place, const struct elements *elements) {
	bool keyed = place->by != NULL || sql_shows_key(place) || !pairs_can(place, false);
	for (int i = 0; !keyed && i < elements->n; i++)
		keyed = sql_has_key(place, &elements->items[i].shape);
	return !keyed;
}

/* TEXT is empty; it is used if there is to be pairing. */
static int take_document(struct table_tx *tx, const char *json, size_t len,
			 struct rows_text *text) {
	const struct place *place = tx->w->place;
	AUTO_ELEMENTS struct elements elements = { 0 };
	AUTO_BUF struct buf why = { 0 };
	const char *by = place->by != NULL ? place->by->name : NULL;
	if (elements_scan(json, len, by != NULL, by, &elements, &why) != 0)
		return call_error(tx->call, EINVAL, "%s", why.data);
	if (is_to_be_paired(place, &elements))
		tx->text = text;
	tx->groups = calloc(GROUPS_MOST, sizeof(*tx->groups));
	int rc = tx->groups != NULL ? 0 : no_memory(tx->call);
	for (int i = 0; rc == 0 && i < elements.n; i++)
		rc = add_element(tx, json, &elements.items[i]);
	return rc;
}

/* Makes the statements. */
static int prepare(struct table_tx *tx) {
	const struct place *place = tx->w->place;
	for (int i = 0; i < tx->ngroups; i++) {
		struct group *group = &tx->groups[i];
		buf_putc(&group->json, ']');
		group->insert = sql_table_insert(place, &group->shape);
		group->skipped = sql_table_skipped(place, &group->shape);
		if (group->keyed) {
			group->count = sql_table_count(place, &group->shape);
			group->update = sql_table_update(place, &group->shape);
		}
		if (group->json.failed || group->skipped == NULL ||
		    (group->keyed && group->count == NULL))
			return no_memory(tx->call);
	}
	buf_puts(&tx->keyed, tx->nkeyed > 0 ? "]" : "[]");
	if (place->match == NULL)
		return 0;
	tx->twice = sql_table_twice(place);
	tx->remove = sql_table_delete(place);
	return tx->twice != NULL && tx->remove != NULL && !tx->keyed.failed ? 0
									    : no_memory(tx->call);
}

/* -- the transaction --------------------------------------------------------------------------- */

static int run(struct db_conn *conn, const struct table_tx *tx, const char *sql,
	       const struct buf *json, PGresult **out, struct db_error *err) {
	struct db_param params[WHERE_PARAMS];
	int n = where_params(tx->w, params);
	if (json != NULL)
		params[n++] =
			(struct db_param){ .data = json->data, .len = json->len, .oid = DB_TEXT };
	return db_query_on(conn, sql, params, n, out, err);
}

static int refuse_twice(struct db_conn *conn, const struct table_tx *tx, struct db_error *err) {
	AUTO_RESULT PGresult *res = NULL;
	if (tx->nkeyed < 2)
		return 0;
	int rc = run(conn, tx, tx->twice, &tx->keyed, &res, err);
	if (rc == 0 && PQntuples(res) > 0)
		rc = db_error_set(err, EINVAL,
				  "the row with the key %s stands twice in the document",
				  field_text(res, 0, 0));
	return rc;
}

static int delete_absent(struct db_conn *conn, const struct table_tx *tx, struct db_error *err) {
	AUTO_RESULT PGresult *res = NULL;
	int rc = tx->remove != NULL ? run(conn, tx, tx->remove, &tx->keyed, &res, err)
				    : run(conn, tx, tx->w->place->sql.remove.sql, NULL, &res, err);
	if (rc != -ENOENT || strcmp(err->sqlstate, "23503") != 0)
		return rc;
	AUTO_BUF struct buf said = { 0 };
	buf_puts(&said, err->sentence != NULL ? err->sentence : "");
	return db_error_set(err, ENOTEMPTY,
			    "rows of another table refer to a row that the document leaves out: "
			    "remove them first (%s)",
			    said.data);
}

static long count_of(const PGresult *res) {
	return field_number(res, 0, 0);
}

/* Updates the rows of GROUP that are there and differ. */
static int update_group(struct db_conn *conn, const struct table_tx *tx, struct group *group,
			struct db_error *err) {
	AUTO_RESULT PGresult *res = NULL, *updated = NULL;
	group->there = 0;
	if (!group->keyed)
		return 0;
	int rc = run(conn, tx, group->count, &group->json, &res, err);
	if (rc == 0)
		group->there = count_of(res);
	if (rc == 0 && group->there > 0 && group->update != NULL)
		rc = run(conn, tx, group->update, &group->json, &updated, err);
	return rc;
}

/* Fewer rows were inserted than GROUP has new ones. *SKIPPED: a trigger has skipped them; otherwise
 * some contradict the path. */
static int ask_why_fewer(struct db_conn *conn, const struct table_tx *tx, const struct group *group,
			 bool *skipped, struct db_error *err) {
	AUTO_RESULT PGresult *without = NULL, *there = NULL;
	int rc = run(conn, tx, group->skipped, &group->json, &without, err);
	if (rc == 0 && group->keyed)
		rc = run(conn, tx, group->count, &group->json, &there, err);
	if (rc == 0)
		*skipped = count_of(without) + (there != NULL ? count_of(there) : 0) == group->n;
	return rc;
}

/* Inserts the rows of GROUP that are not there. */
static int insert_group(struct db_conn *conn, const struct table_tx *tx, const struct group *group,
			struct db_error *err) {
	AUTO_RESULT PGresult *res = NULL;
	if (group->there == group->n)
		return 0;
	if (group->insert == NULL)
		return db_error_set(
			err, EINVAL,
			"a new row has no columns, or cannot be made through this path");
	int rc = run(conn, tx, group->insert, &group->json, &res, err);
	if (rc != 0 || group->there + field_changed(res) == group->n)
		return rc;
	bool skipped = false;
	rc = ask_why_fewer(conn, tx, group, &skipped, err);
	if (rc != 0 || skipped)
		return rc;
	return db_error_set(
		err, EINVAL,
		"a row of the document contradicts its path: a key or the reference to the parent row is "
		"another one than the path says (leave it out), or its identity cannot be changed");
}

static int table_in_tx(struct db_conn *conn, void *arg, struct db_error *err) {
	const struct table_tx *tx = arg;
	int rc = tx->from != NULL ? statement_remove_on(conn, tx->from, NULL, err) : 0;
	if (rc == 0 && tx->text != NULL)
		return pairs_run(conn, tx->pairs, err);
	if (rc == 0)
		rc = refuse_twice(conn, tx, err);
	/* what goes makes room for unique values that others take over */
	if (rc == 0)
		rc = delete_absent(conn, tx, err);
	for (int i = 0; rc == 0 && i < tx->ngroups; i++)
		rc = update_group(conn, tx, &tx->groups[i], err);
	for (int i = 0; rc == 0 && i < tx->ngroups; i++)
		rc = insert_group(conn, tx, &tx->groups[i], err);
	return rc;
}

/* A row that another writer has inserted meanwhile is one to update: so twice. */
static int run_tx(struct table_tx *tx) {
	struct call *call = tx->call;
	int rc = -EEXIST;
	for (int attempt = 0; rc == -EEXIST && attempt < 2; attempt++) {
		db_error_clear(&call->err);
		rc = once_run(call->fs->stream, 0, table_in_tx, tx, NULL, &call->err);
	}
	coherence_changed(call->fs, &call->err);
	return rc;
}

int table_store(struct call *call, const struct where *w, const struct where *from,
		const char *json, size_t len) {
	struct input in = { .call = call, .w = w, .raw = json };
	AUTO_FREE struct rows_text *text = calloc(1, sizeof(*text));
	struct pairs pairs = { .in = &in, .text = text };
	struct table_tx tx = { .call = call, .w = w, .from = from, .pairs = &pairs };
	int rc;
	if (text == NULL)
		return no_memory(call);
	*text = (struct rows_text){ .in = &in, .most = GROUPS_MOST };
	if (!statement_parent_exists(call, w))
		return call_error(call, ENOENT, "the row that this file belongs to does not exist");
	db_error_clear(&call->err);
	rc = take_document(&tx, json, len, text);
	if (rc == 0 && tx.text == NULL)
		rc = prepare(&tx);
	if (rc == 0)
		rc = run_tx(&tx);
	tx_free(&tx);
	rows_text_free(text);
	return rc;
}
