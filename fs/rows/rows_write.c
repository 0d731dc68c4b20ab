/* Appending lines: those with the same columns go to the server together, in one transaction with
 * the ledger's row. If one is refused, they are sent around it. */
#include "fs/rows/rows_write.h"

#include "fs/stream/batch.h"
#include "fs/stream/fence.h"
#include "fs/stream/once.h"
#include "fs/bytes/plain.h"
#include "fs/rows/rows_append.h"
#include "fs/rows/rows_insert.h"
#include "fs/rows/rows_state.h"

#include <errno.h>
#include <string.h>

/* Lines of one shape on their way. */
struct append_tx {
	struct batch_owner owner; /* the first member */
	struct input *in;
	const struct line_group *group; /* the lines as JSON; the batch has them as written */
	struct insert insert;           /* its json is made for each part */
};

static int send_lines(struct db_conn *conn, struct batch_owner *owner, const struct batch *b,
		      int low, int high, size_t at, struct db_error *err) {
	struct append_tx *tx = (struct append_tx *)owner;
	(void)b;
	(void)at;
	buf_resize(&tx->insert.json, 0);
	buf_putc(&tx->insert.json, '[');
	group_put(&tx->insert.json, tx->group, low, high);
	buf_putc(&tx->insert.json, ']');
	tx->insert.lines = high - low;
	if (tx->insert.json.failed) {
		buf_free(&tx->insert.json);
		return db_error_set(err, ENOMEM, "out of memory");
	}
	return insert_run(conn, tx->in, &tx->insert, err);
}

static int put_raw(struct batch *batch, const struct input *in, const struct line_group *group) {
	for (int i = 0; i < group->n; i++) {
		const struct line *line = &group->lines[i];
		const struct unit_line one = { .text = in->raw + line->raw_at,
					       .len = (uint32_t)line->raw_len,
					       .number = line->number };
		const struct unit unit = { .lines = &one, .n = 1 };
		if (batch_put(batch, NULL, &unit) != 0)
			return -ENOMEM;
	}
	return 0;
}

/* All lines at once; if one is refused, again around it. */
static int send_batch(struct append_tx *tx, struct batch *batch) {
	struct call *call = tx->in->call;
	struct engine *engine = call->fs->stream;
	struct once once = { 0 };
	struct batch_target target = { .engine = engine,
				       .once = engine->tree->has_ledger ? &once : NULL,
				       .owner = &tx->owner };
	int rc = put_raw(batch, tx->in, tx->group);
	if (rc != 0)
		return call_error(call, ENOMEM, "out of memory");
	rc = once_begin(engine, &once, &call->err);
	if (rc != 0)
		return rc;
	enum sent end = batch_commit(batch, &target, &call->err);
	fs_changed(call->fs);
	if (end != SENT) {
		once_failed(engine, &once, -call->err.errnum, &call->err);
		return -call->err.errnum;
	}
	int first = refusals_tell(&batch->refused, engine, tx->in->w->path);
	if (tx->in->first_error == 0)
		tx->in->first_error = first;
	return 0;
}

static int run_append(struct append_tx *tx) {
	struct batch *batch = batch_new(1);
	int rc = batch != NULL ? send_batch(tx, batch)
			       : call_error(tx->in->call, ENOMEM, "out of memory");
	batch_free(batch);
	return rc;
}

/* Lines that give no column a value, such as {}: each is a bad one. */
static int reject_group(struct input *in, const struct line_group *group) {
	for (int i = 0; i < group->n; i++)
		lines_reject(in, &group->lines[i],
			     call_error(in->call, EINVAL, "the line has no columns"));
	return 0;
}

/* Sends what the group holds. Returns -errno only for what is not the lines' fault. */
static int flush_batch(struct input *in, struct line_group *group) {
	struct document_shape shape = shape_document(&group->shape);
	if (group->n == 0)
		return 0;
	struct append_tx tx = {
		.owner = { .send = send_lines, .plain = true },
		.in = in,
		.group = group,
		.insert = { .sql = sql_insert_lines(in->w->place, &shape),
			    .count = sql_count_lines(in->w->place, &shape) },
	};
	int rc;
	if (tx.insert.count == NULL)
		rc = call_error(in->call, ENOMEM, "out of memory");
	else if (tx.insert.sql == NULL)
		rc = reject_group(in, group);
	else
		rc = run_append(&tx);
	if (rc == 0)
		in->settled =
			group->lines[group->n - 1].raw_at + group->lines[group->n - 1].raw_len;
	insert_free(&tx.insert);
	group_clear(group);
	return rc;
}

static int append_line(struct input *in, void *arg, const struct line *line, struct shape *shape,
		       const struct buf *json) {
	struct line_group *b = arg;
	bool full = b->n >= in->call->fs->opt->batch_size;
	int rc = b->n > 0 && (full || !shape_equal(&b->shape, shape)) ? flush_batch(in, b) : 0;
	return rc != 0 ? rc : group_add(in->call, b, line, shape, json);
}

int rows_commit(struct call *call, struct handle *h, const struct where *w, enum record_more more) {
	struct rows_file *f = rows_of(h);
	struct input in = { .call = call, .h = h, .w = w, .raw = f->data.data };
	struct line_group batch = { 0 };
	size_t taken = 0;
	uint64_t before = f->lines.records.lines;
	h->waiting_us = 0;
	if (f->data.len == 0)
		return 0;
	int rc = lines_each(&in, f->data.len, more, false, append_line, &batch, &taken);
	if (rc == 0)
		rc = flush_batch(&in, &batch);
	group_free(&batch);
	if (rc != 0) {
		/* given up for good: what was not sent is kept */
		for (size_t i = 0; i < in.settled; i++)
			before += in.raw[i] == '\n';
		buf_consume(&f->data, in.settled);
		/* the reader may have stopped among them */
		before = rows_reject_lines(call, w, &f->data, before, rc);
		rows_drop_rest(h);
		f->lines.records.lines = before;
	} else {
		buf_consume(&f->data, taken);
	}
	plain_unmark(call->fs->plain, w->path);
	if (f->bad_line == 0)
		f->bad_line = in.first_error;
	return rc;
}

static void flush_lines(struct call *call, struct handle *h) {
	struct rows_file *f = rows_of(h);
	AUTO_WHERE struct where w = { 0 };
	h->waiting_us = 0;
	if (!rows_is_open(h) || !f->dirty || rows_is_whole(h) || f->refused != 0)
		return;
	int rc = node_where(call->fs->nodes, h->node, &w);
	if (rc == 0)
		rc = rows_commit(call, h, &w, RECORD_MORE);
	if (rc != 0 && f->deferred == 0)
		f->deferred = rc; /* told at fsync or close */
	f->buffered_lines = 0;
	f->dirty = f->data.len > 0;
}

void rows_flush(struct fs *fs, struct handle *h) {
	struct call call = { .fs = fs };
	/* who works on it may wait for the database: other handles and tasks must not wait for
	 * him */
	if (pthread_mutex_trylock(&h->lock) != 0)
		return;
	pthread_mutex_init(&call.cancel.lock, NULL);
	flush_lines(&call, h);
	handle_settle(fs, h);
	call_end(&call);
	pthread_mutex_unlock(&h->lock);
}

int rows_settle_lines(struct call *call, struct handle *h) {
	struct rows_file *f = rows_of(h);
	AUTO_WHERE struct where w = { 0 };
	int rc = node_where(call->fs->nodes, h->node, &w);
	if (rc != 0)
		return rc;
	if (rows_append_fits(w.place)) {
		rc = rows_append_take(call, h, RECORD_MORE);
		rows_append_commit(call, h);
	} else {
		rc = rows_commit(call, h, &w, RECORD_MORE);
		f->buffered_lines = 0;
	}
	if (rc != 0 && f->deferred == 0)
		f->deferred = rc; /* its own fsync or close tells it */
	db_error_clear(&call->err);
	f->dirty = f->data.len > 0;
	return 0;
}
