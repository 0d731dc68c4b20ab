/* Writing a rows file anew: one transaction, all or nothing. Where lines have a key, rows are updated by it, new ones inserted and
 * absent ones deleted, so that what refers to a row that stays is not touched; elsewhere the old rows go and the new ones come.
 * Of a file that was edited, only the lines that are not as they were. */
#include "fs/access.h"
#include "fs/plain.h"
#include "fs/rows_edit.h"
#include "fs/rows_lines.h"
#include "fs/store.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

enum { GROUPS_MOST = 64 };

/* The lines, by their columns. */
struct content {
	struct line_group groups[GROUPS_MOST];
	int n;
	struct old_lines *old; /* NULL: the lines replace whatever is there */
};

static int collect_line(struct input *in, void *arg, const struct line *line, struct shape *shape,
			const struct buf *json) {
	struct content *content = arg;
	int i = 0;
	if (content->old != NULL && old_lines_keep(content->old, in, line))
		return 0;
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
	insert->count = has_key ? sql_count_upserts(place, &shape) : sql_count_lines(place, &shape);
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

static int put_json(struct input *in, void *arg, const struct line *line, struct shape *shape,
		    const struct buf *json) {
	struct buf *out = arg;
	(void)line;
	(void)shape;
	buf_puts(out, out->len > 1 ? "," : "");
	buf_add(out, json->data, json->len);
	return out->failed ? call_error(in->call, ENOMEM, "out of memory") : 0;
}

/* What is to be deleted: the lines of an edited file that are not in the new text, but those whose key is. JSON gets them as an array. */
static int remove_gone(struct rows_tx *tx, const struct content *content, const struct buf *keyed,
		       struct buf *json, char **sql) {
	const struct input *in = tx->in;
	const char *header = in->w->place->sql.header;
	bool has_key = keyed->len > 2;
	struct handle h = { .flags = O_RDONLY };
	struct input old = { .call = in->call, .h = &h, .w = in->w };
	AUTO_BUF struct buf text = { 0 };
	size_t taken;
	buf_puts(&text, header != NULL ? header : "");
	int n = old_lines_gone(content->old, &text);
	if (n == 0)
		return 0;
	old.raw = text.data;
	buf_putc(json, '[');
	int rc = text.failed ? -ENOMEM
			     : lines_each(&old, text.len, RECORD_END, true, put_json, json, &taken);
	lines_reader_free(&h);
	free(h.columns);
	buf_putc(json, ']');
	if (rc != 0)
		return rc;
	*sql = sql_delete_lines(in->w->place, has_key);
	tx->remove = *sql;
	tx->gone = json;
	tx->gone_lines = has_key ? 0 : n;
	return *sql != NULL ? 0 : -ENOMEM;
}

static int replace_all(struct input *in, const struct where *from, struct content *content) {
	const struct place *place = in->w->place;
	const struct document_shape none = { 0 };
	AUTO_BUF struct buf keyed = { 0 }, gone = { 0 };
	AUTO_FREE char *removing = NULL;
	struct insert inserts[GROUPS_MOST] = { 0 };
	struct rows_tx tx = { .in = in, .from = from, .inserts = inserts, .keyed = &keyed };
	int rc = 0;
	buf_putc(&keyed, '[');
	for (int i = 0; rc == 0 && i < content->n; i++)
		rc = add_group(&tx, &content->groups[i], &keyed);
	bool has_key = keyed.len > 1;
	buf_putc(&keyed, ']');
	if (rc == 0 && content->old != NULL) {
		rc = remove_gone(&tx, content, &keyed, &gone, &removing);
	} else if (rc == 0 && has_key) {
		removing = sql_delete_absent(place, &none);
		tx.remove = removing;
	} else if (rc == 0) {
		tx.remove = place->sql.remove.sql;
		tx.keyed = NULL;
	}
	if (rc == 0 && (keyed.failed || gone.failed || (content->old == NULL && !tx.remove)))
		rc = call_error(in->call, ENOMEM, "out of memory");
	if (rc == 0 && (tx.remove != NULL || tx.ninserts > 0))
		rc = rows_tx_run(&tx);
	for (int i = 0; i < tx.ninserts; i++)
		insert_free(&inserts[i]);
	return rc;
}

int rows_replace(struct call *call, struct handle *h, const struct where *w,
		 const struct where *from, bool last, size_t *taken) {
	struct input in = { .call = call, .h = h, .w = w, .raw = h->data.data };
	AUTO_FREE struct content *content = calloc(1, sizeof(*content));
	AUTO_OLD_LINES struct old_lines old = { 0 };
	*taken = 0;
	lines_reader_free(h);
	h->lines = 0;
	h->columns_known = false;
	int rc = access_check(call, w->place, CHANGE_ANEW);
	if (rc == 0 && content == NULL)
		rc = call_error(call, ENOMEM, "out of memory");
	if (rc == 0 && h->was.len > 0 && sql_can_delete_lines(w->place)) {
		rc = old_lines_take(&old, w->place, &h->was);
		content->old = &old;
	}
	if (rc == 0)
		rc = lines_each(&in, h->data.len, last ? RECORD_END : RECORD_MORE, true,
				collect_line, content, taken);
	bool waits = rc == 0 && rows_open_line(h) > 0;
	if (rc == 0 && !waits)
		rc = replace_all(&in, from, content);
	if (rc != 0 && from != NULL) { /* it is kept: by the rows of its own name */
		lines_reader_free(h);
	} else if (rc != 0) {
		store_rejected(call, w, 0, h->data.data != NULL ? h->data.data : "", h->data.len,
			       rc);
		lines_reader_free(h);
	} else if (!waits) {
		plain_unmark(call->fs->plain, w->path);
	}
	for (int i = 0; content != NULL && i < content->n; i++)
		group_free(&content->groups[i]);
	return rc;
}
