/* Writing a rows file anew: one transaction, all or nothing. Where lines have a key, rows are updated by it, new ones inserted and
 * absent ones deleted, so that what refers to a row that stays is not touched; elsewhere the old rows go and the new ones come. */
#include "fs/access.h"
#include "fs/plain.h"
#include "fs/rows_lines.h"
#include "fs/store.h"

#include <errno.h>
#include <string.h>

enum { GROUPS_MOST = 64 };

/* The lines, by their columns. */
struct content {
	struct line_group groups[GROUPS_MOST];
	int n;
};

static int collect_line(struct input *in, void *arg, const struct line *line, struct shape *shape,
			const struct buf *json) {
	struct content *content = arg;
	int i = 0;
	while (i < content->n && !shape_equal(&content->groups[i].shape, shape))
		i++;
	if (i == GROUPS_MOST)
		return call_error(
			in->call, EINVAL,
			"lines with more than %d different sets of keys: write the same keys in all lines",
			GROUPS_MOST);
	if (i == content->n)
		content->n++;
	return group_add(in->call, &content->groups[i], line, shape, json);
}

/* Makes TX's statement for the group. Lines that have their key are added to KEYED. */
static int add_group(struct rows_tx *tx, const struct line_group *b, struct buf *keyed) {
	const struct place *place = tx->in->w->place;
	struct document_shape shape = shape_document(&b->shape);
	struct insert *insert = &tx->inserts[tx->ninserts++];
	bool has_key = sql_has_key(place, &shape);
	insert->lines = b->n;
	insert->sql = has_key ? sql_upsert_lines(place, &shape) : sql_insert_lines(place, &shape);
	insert->count = has_key ? NULL : sql_count_lines(place, &shape);
	buf_putc(&insert->json, '[');
	group_put(&insert->json, b, 0, b->n);
	buf_putc(&insert->json, ']');
	if (has_key)
		group_put(keyed, b, 0, b->n);
	if (insert->json.failed || keyed->failed)
		return call_error(tx->in->call, ENOMEM, "out of memory");
	return insert->sql != NULL
		       ? 0
		       : call_error(tx->in->call, EINVAL,
				    "the lines have no key that is a column of the table");
}

static int replace_all(struct input *in, const struct content *content) {
	const struct place *place = in->w->place;
	const struct document_shape none = { 0 };
	AUTO_BUF struct buf keyed = { 0 };
	AUTO_FREE char *absent = NULL;
	struct insert inserts[GROUPS_MOST] = { 0 };
	struct rows_tx tx = { .in = in, .inserts = inserts, .remove = place->sql.remove.sql };
	int rc = 0;
	buf_putc(&keyed, '[');
	for (int i = 0; rc == 0 && i < content->n; i++)
		rc = add_group(&tx, &content->groups[i], &keyed);
	if (keyed.len > 1) {
		buf_putc(&keyed, ']');
		absent = sql_delete_absent(place, &none);
		tx.remove = absent;
		tx.keyed = &keyed;
	}
	if (rc == 0)
		rc = tx.remove != NULL && !keyed.failed
			     ? rows_tx_run(&tx)
			     : call_error(in->call, ENOMEM, "out of memory");
	for (int i = 0; i < tx.ninserts; i++)
		insert_free(&inserts[i]);
	return rc;
}

int rows_replace(struct call *call, struct handle *h, const struct where *w) {
	struct input in = { .call = call, .h = h, .w = w, .raw = h->data.data };
	AUTO_FREE struct content *content = calloc(1, sizeof(*content));
	size_t taken = 0;
	h->lines = 0;
	h->columns_known = false;
	int rc = access_check(call, w->place, CHANGE_ANEW);
	if (rc == 0)
		rc = content != NULL ? lines_each(&in, h->data.len, true, true, collect_line,
						  content, &taken)
				     : call_error(call, ENOMEM, "out of memory");
	if (rc == 0)
		rc = replace_all(&in, content);
	if (rc != 0)
		store_rejected(call, w, 0, h->data.data, h->data.len, rc);
	else
		plain_unmark(call->fs->plain, w->path);
	for (int i = 0; content != NULL && i < content->n; i++)
		group_free(&content->groups[i]);
	buf_resize(&h->data, 0);
	return rc;
}
