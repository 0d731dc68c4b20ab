#include "fs/docs/table.h"

#include "fs/cache/coherence.h"
#include "fs/rows/rows_keyed.h"
#include "fs/rows/rows_pairs.h"
#include "fs/names/statement.h"
#include "fs/stream/once.h"

#include <errno.h>
#include <string.h>

struct table_tx {
	struct call *call;
	const struct where *w, *from;
	struct rows_text *text; /* the objects */
	bool keyed;             /* they show which row they are; otherwise they are paired */
	struct pairs pairs;
	struct keyed by_key;
};

/* -- the document's parts ---------------------------------------------------------------------- */

static int no_memory(struct call *call) {
	return call_error(call, ENOMEM, "out of memory");
}

/* Puts the object's key into it: {"name": "a", ...} for "a": {...}. */
static int add_name(struct table_tx *tx, const char *json, struct element *e, struct buf *out) {
	const char *by = tx->w->place->by->name;
	if (e->watched_len > 0) {
		json_put_quoted(out, json, e->at, e->len, &e->spans);
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
	json_put_quoted(out, json, e->at + 1, e->len - 1, &e->spans);
	return shape_add(&e->shape, by, strlen(by)) ? 0 : no_memory(tx->call);
}

static int add_element(struct table_tx *tx, const char *json, struct element *e) {
	AUTO_BUF struct buf text = { 0 };
	int rc = 0;
	if (tx->w->place->by != NULL)
		rc = add_name(tx, json, e, &text);
	else
		json_put_quoted(&text, json, e->at, e->len, &e->spans);
	if (rc == 0)
		rc = statement_check_shape(tx->call, tx->w->place, &e->shape);
	if (rc != 0)
		return rc;
	shape_sort(&e->shape);
	const struct line line = { .raw_at = e->at, .raw_len = e->len };
	return rows_text_add(tx->text->in, tx->text, &line, &e->shape, &text);
}

/* True if nothing in the document says which row is which. */
static bool is_to_be_paired(const struct place *place, const struct elements *elements) {
	bool keyed = place->by != NULL || sql_shows_key(place) || !pairs_can(place, false);
	for (int i = 0; !keyed && i < elements->n; i++)
		keyed = sql_has_key(place, &elements->items[i].shape);
	return !keyed;
}

static int take_document(struct table_tx *tx, const char *json, size_t len) {
	const struct place *place = tx->w->place;
	AUTO_ELEMENTS struct elements elements = { 0 };
	AUTO_BUF struct buf why = { 0 };
	const char *by = place->by != NULL ? place->by->name : NULL;
	const struct json_members members = sql_members(place);
	int rc = 0;
	if (elements_scan(json, len, by != NULL, &members, by, &elements, &why) != 0)
		return call_error(tx->call, EINVAL, "%s", why.data);
	tx->keyed = !is_to_be_paired(place, &elements);
	for (int i = 0; rc == 0 && i < elements.n; i++)
		rc = add_element(tx, json, &elements.items[i]);
	return rc;
}

/* -- the transaction --------------------------------------------------------------------------- */

static int table_in_tx(struct db_conn *conn, void *arg, struct db_error *err) {
	struct table_tx *tx = arg;
	int rc = tx->from != NULL ? statement_remove_on(conn, tx->from, NULL, err) : 0;
	if (rc != 0)
		return rc;
	return tx->keyed ? keyed_run(conn, &tx->by_key, err) : pairs_run(conn, &tx->pairs, err);
}

/* A row that another writer has inserted meanwhile is one to update: so it is tried again. */
static int run_tx(struct table_tx *tx) {
	struct call *call = tx->call;
	int rc;
	bool again = false, other;
	do {
		db_error_clear(&call->err);
		rc = once_run(call->fs->stream, 0, table_in_tx, tx, NULL, &call->err);
		other = rc != 0 && (tx->keyed ? keyed_other_way(&tx->by_key, &call->err)
					      : rc == -EEXIST && !again);
		again = true;
	} while (other);
	coherence_changed(call->fs, &call->err);
	return rc;
}

int table_store(struct call *call, const struct where *w, const struct where *from,
		const char *json, size_t len) {
	struct input in = { .call = call,
			    .w = w,
			    .raw = json,
			    .most = len > call->fs->opt->max_document
					    ? len
					    : call->fs->opt->max_document };
	AUTO_FREE struct rows_text *text = calloc(1, sizeof(*text));
	struct table_tx tx = { .call = call,
			       .w = w,
			       .from = from,
			       .text = text,
			       .pairs = { .in = &in, .text = text },
			       .by_key = { .in = &in, .text = text } };
	int rc;
	if (text == NULL)
		return no_memory(call);
	*text = (struct rows_text){ .in = &in, .most = GROUPS_MOST };
	keyed_begin(&tx.by_key);
	if (!statement_parent_exists(call, w))
		return call_error(call, ENOENT, "the row that this file belongs to does not exist");
	db_error_clear(&call->err);
	rc = take_document(&tx, json, len);
	if (rc == 0)
		rc = run_tx(&tx);
	rows_text_free(text);
	return rc;
}
