/* Appending lines: those with the same columns go to the server together, in one transaction with the ledger's row. A batch that is
 * refused is halved until the bad line stands alone. */
#include "fs/fence.h"
#include "fs/kind.h"
#include "fs/plain.h"
#include "fs/rows_lines.h"
#include "fs/store.h"

#include <errno.h>
#include <string.h>

/* -- one transaction --------------------------------------------------------------------------- */

static int run_in_tx(struct db_conn *conn, const struct rows_tx *tx, const char *sql,
		     const struct buf *json, int *changed, struct db_error *err) {
	struct db_param params[WHERE_PARAMS];
	AUTO_RESULT PGresult *res = NULL;
	int n = where_params(tx->in->w, params);
	if (json != NULL)
		params[n++] =
			(struct db_param){ .data = json->data, .len = json->len, .oid = DB_TEXT };
	int rc = db_query_on(conn, sql, params, n, &res, err);
	*changed = rc == 0 ? (int)strtol(PQcmdTuples(res), NULL, 10) : 0;
	return rc;
}

static int rows_in_tx(struct db_conn *conn, void *arg, struct db_error *err) {
	const struct rows_tx *tx = arg;
	int changed, rc = ledger_enter(conn, tx->in->call->fs->tree, &tx->op, err);
	if (rc != 0)
		return rc == LEDGER_DONE ? 0 : rc;
	if (tx->remove != NULL)
		rc = run_in_tx(conn, tx, tx->remove, tx->keyed, &changed, err);
	for (int i = 0; rc == 0 && i < tx->ninserts; i++) {
		rc = run_in_tx(conn, tx, tx->inserts[i].sql, &tx->inserts[i].json, &changed, err);
		if (rc == 0 && changed != tx->inserts[i].lines)
			rc = db_error_set(
				err, EINVAL,
				"the line contradicts its path: a key or the reference to the parent row is "
				"another one than the path says, or there is no parent row");
	}
	return rc;
}

int rows_tx_run(struct rows_tx *tx) {
	struct call *call = tx->in->call;
	int rc = fence_run(call, rows_in_tx, tx, &tx->op);
	fs_changed(call->fs);
	for (int i = 0; rc == 0 && i < tx->ninserts; i++)
		atomic_fetch_add(&call->fs->count.rows_written, (unsigned)tx->inserts[i].lines);
	return rc;
}

/* -- appending --------------------------------------------------------------------------------- */

/* Inserts lines LOW to HIGH of the batch. Returns -errno only for what is not the lines' fault. */
static int insert_range(struct input *in, const struct line_group *b, int low, int high) {
	struct document_shape shape = shape_document(&b->shape);
	struct insert insert = { .sql = sql_insert_lines(in->w->place, &shape),
				 .lines = high - low };
	struct rows_tx tx = { .in = in, .inserts = &insert, .ninserts = 1 };
	int rc;
	buf_putc(&insert.json, '[');
	group_put(&insert.json, b, low, high);
	buf_putc(&insert.json, ']');
	if (insert.json.failed)
		rc = call_error(in->call, ENOMEM, "out of memory");
	else if (insert.sql == NULL)
		rc = call_error(in->call, EINVAL, "the line has no columns");
	else
		rc = rows_tx_run(&tx);
	buf_free(&insert.json);
	free(insert.sql);
	if (rc == 0 || !store_is_input_error(rc))
		return rc;
	if (high - low == 1) {
		lines_reject(in, &b->lines[low], rc);
		return 0;
	}
	db_error_clear(&in->call->err);
	int middle = low + (high - low) / 2;
	rc = insert_range(in, b, low, middle);
	return rc != 0 ? rc : insert_range(in, b, middle, high);
}

/* Sends what the batch holds. Returns -errno only for what is not the lines' fault. */
static int flush_batch(struct input *in, struct line_group *b) {
	if (b->n == 0)
		return 0;
	int rc = insert_range(in, b, 0, b->n);
	if (rc == 0)
		in->settled = b->lines[b->n - 1].raw_at + b->lines[b->n - 1].raw_len;
	group_clear(b);
	return rc;
}

static int append_line(struct input *in, void *arg, const struct line *line, struct shape *shape,
		       const struct buf *json) {
	struct line_group *b = arg;
	bool full = b->n >= in->call->fs->opt->batch_size;
	int rc = b->n > 0 && (full || !shape_equal(&b->shape, shape)) ? flush_batch(in, b) : 0;
	return rc != 0 ? rc : group_add(in->call, b, line, shape, json);
}

int rows_commit(struct call *call, struct handle *h, const struct where *w, bool last) {
	struct input in = { .call = call, .h = h, .w = w, .raw = h->data.data };
	struct line_group batch = { 0 };
	size_t taken = 0;
	h->waiting_us = 0;
	if (h->data.len == 0)
		return 0;
	int rc = lines_each(&in, h->data.len, last, false, append_line, &batch, &taken);
	if (rc == 0)
		rc = flush_batch(&in, &batch);
	group_free(&batch);
	if (rc != 0) {
		/* given up for good: what was not sent is kept */
		store_rejected(call, w, 0, in.raw + in.settled, h->data.len - in.settled, rc);
		taken = h->data.len;
	}
	buf_consume(&h->data, taken);
	plain_unmark(call->fs->plain, w->path);
	return rc != 0 ? rc : in.first_error;
}

static void flush_lines(struct call *call, struct handle *h) {
	AUTO_WHERE struct where w = { 0 };
	h->waiting_us = 0;
	if (!h->dirty || h->replacing || h->refused != 0 || h->kind != &rows_kind)
		return;
	int rc = node_where(call->fs->nodes, h->node, &w);
	if (rc == 0)
		rc = rows_commit(call, h, &w, false);
	if (rc != 0 && h->deferred == 0)
		h->deferred = rc; /* told at fsync or close */
	h->buffered_lines = 0;
	h->dirty = h->data.len > 0;
}

void rows_flush(struct fs *fs, struct handle *h) {
	struct call call = { .fs = fs };
	/* who works on it may wait for the database: other handles and tasks must not wait for him */
	if (pthread_mutex_trylock(&h->lock) != 0)
		return;
	pthread_mutex_init(&call.cancel.lock, NULL);
	flush_lines(&call, h);
	call_end(&call);
	pthread_mutex_unlock(&h->lock);
}
