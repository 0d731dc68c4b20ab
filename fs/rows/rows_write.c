/* Appending lines: those with the same columns go to the server together, in one transaction with
 * the ledger's row. If one is refused, they are sent around it. */
#include "fs/rows/rows_write.h"

#include "fs/cache/coherence.h"
#include "fs/stream/batch.h"
#include "fs/stream/once.h"
#include "fs/stream/refusals.h"
#include "fs/bytes/plain.h"
#include "fs/names/statement.h"
#include "fs/rows/rows_append.h"
#include "fs/rows/rows_insert.h"
#include "fs/rows/rows_file.h"
#include "util/list.h"
#include "util/mutex.h"

#include <errno.h>

/* Lines of one shape on their way. The batch has their objects. */
struct append_tx {
	struct batch_owner owner; /* the first member */
	struct input *in;
	struct shape shape;
	struct batch *batch;
	struct line *lines;   /* of the batch, as they were written; owned array */
	struct insert insert; /* its json is a part of the batch, while it is sent */
};

static int send_lines(struct db_conn *conn, struct batch_owner *owner, const struct batch *b,
		      int low, int high, size_t at, struct db_error *err) {
	struct append_tx *tx = (struct append_tx *)owner;
	tx->insert.json = batch_array(b, low, high, at);
	tx->insert.lines = high - low;
	int rc = insert_run(conn, tx->in, &tx->insert, err);
	if (rc != 0)
		statement_name_rules(err, tx->in->w->place);
	batch_array_end(&tx->insert.json);
	return rc;
}

/* What the server refused, as it was written. */
static void tell_refused(const struct append_tx *tx) {
	const struct refusals *list = &tx->batch->refused;
	struct input *in = tx->in;
	for (int i = 0; i < list->n; i++) {
		struct refusal one = list->all[i];
		one.text = (char *)(uintptr_t)in->raw + tx->lines[one.index].raw_at;
		one.len = tx->lines[one.index].raw_len;
		keep_first(&in->first_error, refusal_tell(&one, in->call->fs->stream, in->w->path));
	}
}

/* All lines at once; if one is refused, again around it. */
static int send_batch(struct append_tx *tx) {
	struct call *call = tx->in->call;
	struct engine *engine = call->fs->stream;
	struct once once = { 0 };
	struct batch_target target = { .engine = engine,
				       .once = engine->has_ledger ? &once : NULL,
				       .owner = &tx->owner };
	int rc = once_begin(engine, &once, &call->err);
	if (rc != 0)
		return rc;
	enum sent end = batch_commit(tx->batch, &target, &call->err);
	coherence_changed(call->fs, &call->err);
	if (end != SENT) {
		once_failed(engine, &once, -call->err.errnum, &call->err);
		return -call->err.errnum;
	}
	tell_refused(tx);
	return 0;
}

/* Lines that give no column a value, such as {}: each is a bad one. */
static int reject_all(const struct append_tx *tx) {
	struct input *in = tx->in;
	for (int i = 0; i < tx->batch->n; i++)
		lines_reject(in, &tx->lines[i],
			     call_error(in->call, EINVAL, "the line has no columns"));
	return 0;
}

/* Sends what was gathered. Returns -errno only for what is not the lines' fault. */
static int flush(struct append_tx *tx) {
	struct input *in = tx->in;
	int rc, n = tx->batch->n;
	if (n == 0)
		return 0;
	tx->insert = (struct insert){ .sql = sql_insert(in->w->place, &tx->shape, SOURCE_MANY),
				      .count = sql_count(in->w->place, &tx->shape, SOURCE_MANY) };
	if (tx->insert.count == NULL)
		rc = call_error(in->call, ENOMEM, "out of memory");
	else
		rc = tx->insert.sql != NULL ? send_batch(tx) : reject_all(tx);
	if (rc == 0)
		in->settled = tx->lines[n - 1].raw_at + tx->lines[n - 1].raw_len;
	insert_free(&tx->insert);
	shape_free(&tx->shape);
	batch_reset(tx->batch, 1, BATCH_OPEN);
	return rc;
}

static int append_line(struct input *in, void *arg, const struct line *line, struct shape *shape,
		       const struct buf *json) {
	struct append_tx *tx = arg;
	const struct unit_line one = { .text = json->data,
				       .len = (uint32_t)json->len,
				       .number = line->number };
	const struct unit unit = { .lines = &one, .n = 1, .lead = ',' };
	bool full = tx->batch->n >= in->call->fs->opt->batch_size;
	int rc = full || !shape_equal(&tx->shape, shape) ? flush(tx) : 0;
	if (rc != 0)
		return rc;
	if (!list_room(tx->lines, tx->batch->n) || batch_put(tx->batch, NULL, &unit) != 0)
		return call_error(in->call, ENOMEM, "out of memory");
	tx->lines[tx->batch->n - 1] = *line;
	if (tx->batch->n == 1) {
		tx->shape = *shape;
		*shape = (struct shape){ 0 };
	}
	return 0;
}

int rows_commit(struct call *call, struct handle *h, const struct where *w, enum record_more more) {
	struct rows_file *f = rows_of(h);
	struct input in = { .call = call, .lines = &f->lines, .w = w, .raw = f->data.data };
	struct append_tx tx = { .owner = { .send = send_lines, .plain = true }, .in = &in };
	size_t taken = 0;
	uint64_t before = f->lines.records.lines;
	h->waiting_us = 0;
	if (f->data.len == 0)
		return 0;
	tx.batch = batch_new(1);
	int rc = tx.batch != NULL
			 ? lines_each(&in, f->data.len, more, false, append_line, &tx, &taken)
			 : call_error(call, ENOMEM, "out of memory");
	if (rc == 0)
		rc = flush(&tx);
	batch_free(tx.batch);
	shape_free(&tx.shape);
	free(tx.lines);
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
	keep_first(&f->bad_line, in.first_error);
	return rc;
}

int rows_commit_lines(struct call *call, struct handle *h) {
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
	keep_first(&f->deferred, rc); /* its own fsync or close tells it */
	db_error_clear(&call->err);
	f->dirty = f->data.len > 0;
	return 0;
}

static void flush_handle(void *arg, struct handle *h) {
	struct fs *fs = arg;
	AUTO_CALL struct call call = CALL_OF(fs);
	/* who works on it may wait for the database: other handles and tasks must not wait for
	 * him */
	if (!mutex_trylock(&h->lock))
		return;
	struct rows_file *f = rows_of(h);
	h->waiting_us = 0;
	if (rows_is_open(h) && f->dirty && !rows_is_whole(h) && f->refused == 0)
		keep_first(&f->deferred, rows_commit_lines(&call, h)); /* fsync or close tells */
	handle_recount(fs, h);
	mutex_unlock(&h->lock);
}

static bool waits_since(void *arg, const struct handle *h) {
	const int64_t *before_us = arg;
	int64_t since = h->waiting_us;
	return since != 0 && since <= *before_us;
}

void rows_flush(struct fs *fs, int64_t before_us) {
	handles_each(fs, waits_since, &before_us, flush_handle, fs);
}
