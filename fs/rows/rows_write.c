/* Appending lines: those with the same columns go to the server together, in one transaction with
 * the ledger's row. If one is refused, they are sent around it. */
#include "db/field.h"
#include "fs/stream/batch.h"
#include "fs/stream/fence.h"
#include "fs/stream/once.h"
#include "fs/bytes/plain.h"
#include "fs/rows/rows_lines.h"
#include "fs/rows/rows_pairs.h"
#include "fs/rows/rows_state.h"
#include "fs/names/statement.h"

#include <errno.h>
#include <string.h>

/* -- one transaction --------------------------------------------------------------------------- */

static int run_in_tx(struct db_conn *conn, const struct input *in, const char *sql,
		     const struct buf *json, int *changed, struct db_error *err) {
	struct db_param params[WHERE_PARAMS];
	AUTO_RESULT PGresult *res = NULL;
	int n = where_params(in->w, params);
	if (json != NULL)
		params[n++] =
			(struct db_param){ .data = json->data, .len = json->len, .oid = DB_TEXT };
	int rc = db_query_on(conn, sql, params, n, &res, err);
	*changed = rc == 0 ? (int)field_changed(res) : 0;
	return rc;
}

int rows_contradict(struct db_error *err) {
	int rc = db_error_set(
		err, EINVAL,
		"the line contradicts its path: a key or the reference to the parent row is "
		"another one than the path says, or there is no parent row");
	/* with_check_option_violation: what the server says of a row that a view would not show */
	snprintf(err->sqlstate, sizeof(err->sqlstate), "44000");
	return rc;
}

int insert_run(struct db_conn *conn, const struct input *in, const struct insert *insert,
	       struct db_error *err) {
	struct db_param params[WHERE_PARAMS];
	AUTO_RESULT PGresult *res = NULL;
	int changed, rc = run_in_tx(conn, in, insert->sql, &insert->json, &changed, err);
	if (rc != 0 || changed == insert->lines)
		return rc;
	if (insert->count == NULL)
		return rows_contradict(err);
	int n = where_params(in->w, params);
	params[n++] = (struct db_param){ .data = insert->json.data,
					 .len = insert->json.len,
					 .oid = DB_TEXT };
	rc = db_query_on(conn, insert->count, params, n, &res, err);
	bool all = rc == 0 && field_number(res, 0, 0) == insert->lines;
	return rc != 0 || all ? rc : rows_contradict(err);
}

void insert_free(struct insert *insert) {
	buf_free(&insert->json);
	free(insert->sql);
	free(insert->count);
}

/* The rows of the file whose lines these are. If they are not as many, somebody else has changed
 * them. */
static int remove_from(struct db_conn *conn, const struct rows_tx *tx, struct db_error *err) {
	int changed = 0;
	int rc = statement_remove_on(conn, tx->from, &changed, err);
	if (rc == 0 && changed != tx->lines)
		rc = db_error_set(
			err, EXDEV,
			"the file has other rows than the program has written to it: copy it "
			"and remove it");
	return rc;
}

static int rows_in_tx(struct db_conn *conn, void *arg, struct db_error *err) {
	const struct rows_tx *tx = arg;
	int changed, rc = tx->from != NULL ? remove_from(conn, tx, err) : 0;
	if (rc == 0 && tx->pairs != NULL)
		return pairs_run(conn, tx->pairs, err);
	if (rc == 0 && tx->remove != NULL)
		rc = run_in_tx(conn, tx->in, tx->remove, tx->keyed, &changed, err);
	for (int i = 0; rc == 0 && i < tx->ninserts; i++)
		rc = insert_run(conn, tx->in, &tx->inserts[i], err);
	return rc;
}

int rows_tx_run(struct rows_tx *tx) {
	struct call *call = tx->in->call;
	int rc = once_run(call->fs->stream, 0, rows_in_tx, tx, NULL, &call->err);
	fs_changed(call->fs);
	int written = tx->pairs != NULL ? tx->pairs->written : 0;
	for (int i = 0; i < tx->ninserts; i++)
		written += tx->inserts[i].lines;
	if (rc == 0)
		atomic_fetch_add(&call->fs->count.rows_written, (unsigned)written);
	return rc;
}

/* -- appending --------------------------------------------------------------------------------- */

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
	struct once once;
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
	uint64_t before = f->lines;
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
		f->lines = rows_reject_lines(call, w, &f->data, before, rc);
		buf_resize(&f->data, 0);
		rows_drop_rest(h);
		if (f->lines_reader != NULL)
			f->lines_reader->records.lines = f->lines;
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
	if (h->kind != &rows_kind || !f->dirty || rows_is_whole(h) || f->refused != 0)
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
