/* One transaction: bytes, rows, and the record's step. */
#include "fs/ingest.h"
#include "fs/store.h"
#include "schema/ledger.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "db/copy.h"

enum { PIECE = 256 << 10 };

/* What a transaction works on; it may run several times. */
struct sending {
	struct call *call;
	struct ingest_stream *s;
	struct ingest_unit *unit;
	char new_op[37];
	bool moved;
	int fd;                      /* of the whole content, or -1 */
	struct ingest_parser parser; /* of the whole content */
	struct ingest_unit refused;  /* by the server */
	int *order;                  /* the unit's lines, those of one shape together; owned */
	char **ids;                  /* of the lines; owned */
	PGresult *ids_result;        /* what they point into */
};

/* -- rows ------------------------------------------------------------------------------------------ */

static int draw_ids(struct db_conn *conn, struct sending *x, struct db_error *err) {
	const struct ingest_unit *unit = x->unit;
	AUTO_FREE char *sql = ingest_ids_sql(x->s->in);
	char count[16];
	PQclear(x->ids_result);
	x->ids_result = NULL;
	free(x->ids);
	x->ids = calloc((size_t)unit->n + 1, sizeof(*x->ids));
	if (sql == NULL || x->ids == NULL)
		return db_error_set(err, ENOMEM, "out of memory");
	snprintf(count, sizeof(count), "%d", unit->n);
	struct db_param param = db_text(count);
	int rc = db_query_on(conn, sql, &param, 1, &x->ids_result, err);
	for (int i = 0; rc == 0 && i < unit->n; i++) {
		x->ids[i] = PQgetvalue(x->ids_result, i, 0);
		if (x->ids[i][0] == '\0')
			return db_error_set(err, EINVAL,
					    "the key %s of %s has no sequence of its own",
					    x->s->in->key->name, x->s->in->rel->layout_name);
	}
	return rc;
}

/* The ids as an int8multirange. Neighbours make one range. */
static void put_ranges(const struct sending *x, struct buf *out) {
	buf_putc(out, '{');
	for (int i = 0; i < x->unit->n;) {
		long long first = strtoll(x->ids[i], NULL, 10), last = first;
		for (i++; i < x->unit->n && strtoll(x->ids[i], NULL, 10) == last + 1; i++)
			last++;
		buf_printf(out, "%s[%lld,%lld]", out->len > 1 ? "," : "", first, last);
	}
	buf_putc(out, '}');
}

static int copy_lines(struct db_conn *conn, struct sending *x, int low, int high,
		      struct db_error *err) {
	const struct ingest_parser *p = x->fd >= 0 ? &x->parser : &x->s->parser;
	AUTO_FREE char *sql = ingest_copy_sql(x->s->in, p->order, p->norder);
	AUTO_BUF struct buf data = { 0 };
	long long rows;
	for (int i = low; i < high; i++) {
		const struct ingest_line *line = &x->unit->lines[x->order[i]];
		buf_puts(&data, x->ids[x->order[i]]);
		buf_putc(&data, ',');
		buf_add(&data, x->unit->text.data + line->at, line->len);
	}
	if (sql == NULL || data.failed)
		return db_error_set(err, ENOMEM, "out of memory");
	return db_copy_on(conn, sql, data.data, data.len, &rows, err);
}

static int insert_objects(struct db_conn *conn, struct sending *x, int low, int high,
			  struct db_error *err) {
	const struct ingest_line *first = &x->unit->lines[x->order[low]];
	const struct shape *shape = &x->unit->shapes[first->shape];
	AUTO_FREE char *sql =
		ingest_insert_sql(x->s->in, (const char *const *)shape->names, shape->n);
	AUTO_BUF struct buf lines = { 0 }, ids = { 0 };
	for (int i = low; i < high; i++) {
		const struct ingest_line *line = &x->unit->lines[x->order[i]];
		buf_putc(&lines, i > low ? ',' : '[');
		buf_add(&lines, x->unit->text.data + line->at, line->len);
		buf_printf(&ids, "%c%s", i > low ? ',' : '[', x->ids[x->order[i]]);
	}
	buf_putc(&lines, ']');
	buf_putc(&ids, ']');
	if (sql == NULL || lines.failed || ids.failed)
		return db_error_set(err, ENOMEM, "out of memory");
	struct db_param params[] = { { .data = lines.data, .len = lines.len, .oid = DB_TEXT },
				     db_text(ids.data) };
	return db_query_on(conn, sql, params, 2, NULL, err);
}

static int command(struct db_conn *conn, const char *sql, struct db_error *err) {
	return db_query_on(conn, sql, NULL, 0, NULL, err);
}

static bool by_copy(const struct ingest *in) {
	return in->csv && !in->has_factors;
}

static int refuse_line(struct sending *x, int i, struct db_error *err) {
	const struct ingest_line *line = &x->unit->lines[x->order[i]];
	bool ok = ingest_unit_refuse(&x->refused, line->number, err->errnum,
				     x->unit->text.data + line->at, line->len - 1,
				     err->sentence != NULL ? err->sentence : "");
	db_error_clear(err);
	return ok ? 0 : db_error_set(err, ENOMEM, "out of memory");
}

/* Sends lines LOW to HIGH, which have one shape; those that the server refuses cost only themselves. */
static int send_range(struct db_conn *conn, struct sending *x, int low, int high,
		      struct db_error *err) {
	int rc = 0;
	while (rc == 0 && low < high) {
		rc = command(conn, "SAVEPOINT lines", err);
		if (rc == 0)
			rc = by_copy(x->s->in) ? copy_lines(conn, x, low, high, err)
					       : insert_objects(conn, x, low, high, err);
		if (rc == 0)
			return command(conn, "RELEASE lines", err);
		AUTO_DB_ERROR struct db_error ignored = { 0 };
		if (!store_is_input_error(rc) || command(conn, "ROLLBACK TO lines", &ignored) != 0)
			return rc;
		if (high - low == 1)
			return refuse_line(x, low, err);
		long long at = err->copy_line;
		if (by_copy(x->s->in) && at > 0 && at <= high - low) {
			int bad = low + (int)at - 1;
			rc = refuse_line(x, bad, err);
			if (rc == 0)
				rc = send_range(conn, x, low, bad, err);
			low = bad + 1;
			continue;
		}
		db_error_clear(err);
		int middle = low + (high - low) / 2;
		rc = send_range(conn, x, low, middle, err);
		low = middle;
	}
	return rc;
}

static int sort_lines(struct sending *x, struct db_error *err) {
	const struct ingest_unit *unit = x->unit;
	int n = 0;
	free(x->order);
	x->order = calloc((size_t)unit->n + 1, sizeof(*x->order));
	if (x->order == NULL)
		return db_error_set(err, ENOMEM, "out of memory");
	for (int shape = 0; shape <= unit->nshapes && n < unit->n; shape++)
		for (int i = 0; i < unit->n; i++)
			if (unit->lines[i].shape == shape)
				x->order[n++] = i;
	return 0;
}

static int send_rows(struct db_conn *conn, struct sending *x, struct db_error *err) {
	AUTO_BUF struct buf ranges = { 0 };
	int n = x->unit->n, rc = sort_lines(x, err);
	if (n == 0)
		return 0;
	for (int low = 0, high; rc == 0 && low < n; low = high) {
		int shape = x->unit->lines[x->order[low]].shape;
		for (high = low + 1; high < n && x->unit->lines[x->order[high]].shape == shape;)
			high++;
		rc = send_range(conn, x, low, high, err);
	}
	put_ranges(x, &ranges);
	if (rc == 0 && ranges.failed)
		rc = db_error_set(err, ENOMEM, "out of memory");
	return rc != 0 ? rc : ingest_file_add_rows(conn, x->s->rec.id, ranges.data, err);
}

/* -- what it replaces ------------------------------------------------------------------------------ */

static int delete_rows(struct db_conn *conn, char *sql, const char *id, struct db_error *err) {
	AUTO_FREE char *owned = sql;
	struct db_param param = db_text(id);
	return sql != NULL ? db_query_on(conn, sql, &param, 1, NULL, err)
			   : db_error_set(err, ENOMEM, "out of memory");
}

static int clear_file(struct db_conn *conn, const struct ingest_stream *s, struct db_error *err) {
	char id[24];
	int rc = 0;
	snprintf(id, sizeof(id), "%lld", (long long)s->rec.id);
	if (!s->in->keep_replaced)
		rc = delete_rows(conn, ingest_delete_sql(s->in), id, err);
	return rc == 0 ? ingest_file_clear(conn, s->rec.id, err) : rc;
}

/* -- appending ------------------------------------------------------------------------------------- */

static int send_in_tx(struct db_conn *conn, void *arg, struct db_error *err) {
	struct sending *x = arg;
	struct ingest_stream *s = x->s;
	AUTO_BUF struct buf state = { 0 };
	uint64_t base = s->replacing ? 0 : s->rec.size;
	ingest_unit_clear(&x->refused);
	int rc = x->unit->n > 0 ? draw_ids(conn, x, err) : 0;
	const char *tail =
		x->unit->has_tail && rc == 0 ? x->ids[x->unit->n - 1] : s->parser.tail_id;
	parser_state(&s->parser, tail, &state);
	if (rc == 0)
		rc = ingest_file_step(conn, s->rec.id, s->rec.op, x->new_op, base + s->pending.len,
				      state.data, err);
	x->moved = rc == INGEST_MOVED;
	if (rc != 0)
		return rc > 0 ? 0 : rc;
	if (s->replacing)
		rc = clear_file(conn, s, err);
	if (rc == 0 && s->old_tail != NULL)
		rc = delete_rows(conn, ingest_delete_one_sql(s->in), s->old_tail, err);
	if (rc == 0 && s->pending.len > 0)
		rc = ingest_file_add(conn, s->rec.id, base, s->pending.data, s->pending.len,
				     !s->in->gzip, err);
	return rc == 0 ? send_rows(conn, x, err) : rc;
}

static int finish(struct sending *x, int rc) {
	struct ingest_stream *s = x->s;
	if (rc == 0 && !x->moved) {
		int told = ingest_tell(x->call, s, &x->refused);
		if (s->deferred == 0)
			s->deferred = told;
		snprintf(s->rec.op, sizeof(s->rec.op), "%s", x->new_op);
		struct timespec now;
		clock_gettime(CLOCK_REALTIME, &now);
		s->rec.changed_us = (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
	}
	fs_changed(s->fs);
	ingest_unit_clear(&x->refused);
	PQclear(x->ids_result);
	free(x->ids);
	free(x->order);
	return rc;
}

int ingest_send(struct call *call, struct ingest_stream *s, bool *moved) {
	struct sending x = { .call = call, .s = s, .unit = &s->unit, .fd = -1 };
	ledger_new_op(x.new_op);
	int rc = db_transaction(s->fs->pool, send_in_tx, &x, DB_REPEATABLE, NULL, &call->err);
	*moved = x.moved;
	if (rc == 0 && !x.moved && s->unit.has_tail) {
		free(s->parser.tail_id);
		s->parser.tail_id = strdup(x.ids[s->unit.n - 1]);
	}
	if (rc == 0 && !x.moved)
		atomic_fetch_add(&s->fs->count.rows_written,
				 (unsigned)(s->unit.n - x.refused.nrefused));
	return finish(&x, rc);
}

int ingest_tell(struct call *call, const struct ingest_stream *s, const struct ingest_unit *unit) {
	int first = 0;
	for (int i = 0; i < unit->nrefused; i++) {
		const struct ingest_refusal *r = &unit->refused[i];
		(void)call_error(call, r->errnum, "%s", r->why);
		int rc = store_rejected(call, &s->w, r->number, r->text, r->len, -r->errnum);
		atomic_fetch_add(&s->fs->count.lines_rejected, 1);
		first = first != 0 ? first : rc;
	}
	return first;
}

/* -- the whole content ----------------------------------------------------------------------------- */

/* One piece of the file: its bytes, and the lines that it completes. */
static int send_piece(struct db_conn *conn, struct sending *x, const char *data, size_t len,
		      uint64_t at, bool last, struct db_error *err) {
	struct ingest_stream *s = x->s;
	ingest_unit_clear(x->unit);
	int rc = parser_feed(&x->parser, data, len, x->unit);
	if (rc == 0 && last)
		rc = parser_tail(&x->parser, x->unit);
	if (rc != 0)
		return db_error_set(err, -rc, "out of memory");
	if (len > 0)
		rc = ingest_file_add(conn, s->rec.id, at, data, len, !s->in->gzip, err);
	if (rc == 0 && x->unit->n > 0)
		rc = draw_ids(conn, x, err);
	if (rc == 0)
		rc = send_rows(conn, x, err);
	if (rc == 0 && x->unit->has_tail)
		x->parser.tail_id = strdup(x->ids[x->unit->n - 1]);
	for (int i = 0; rc == 0 && i < x->unit->nrefused; i++) {
		const struct ingest_refusal *r = &x->unit->refused[i];
		if (!ingest_unit_refuse(&x->refused, r->number, r->errnum, r->text, r->len, r->why))
			rc = db_error_set(err, ENOMEM, "out of memory");
	}
	return rc;
}

static int send_pieces(struct db_conn *conn, struct sending *x, uint64_t size,
		       struct db_error *err) {
	AUTO_FREE char *data = malloc(PIECE);
	uint64_t at = 0;
	int rc = data != NULL ? 0 : db_error_set(err, ENOMEM, "out of memory");
	while (rc == 0) {
		size_t want = size - at < PIECE ? (size_t)(size - at) : PIECE;
		ssize_t n = pread(x->fd, data, want, (off_t)at);
		if (n < 0 || (size_t)n != want)
			return db_error_set(err, EIO, "the copy of the file cannot be read");
		rc = send_piece(conn, x, data, want, at, at + want == size, err);
		at += want;
		if (at == size)
			break;
	}
	return rc;
}

static int send_file_in_tx(struct db_conn *conn, void *arg, struct db_error *err) {
	struct sending *x = arg;
	struct ingest_stream *s = x->s;
	AUTO_BUF struct buf state = { 0 };
	struct stat st;
	ingest_unit_clear(&x->refused);
	parser_free(&x->parser);
	if (fstat(x->fd, &st) != 0 || parser_begin(&x->parser, s->in, NULL) != 0)
		return db_error_set(err, EIO, "the copy of the file cannot be read");
	uint64_t size = (uint64_t)st.st_size;
	int rc = ingest_file_step(conn, s->rec.id, s->rec.op, x->new_op, size, "{}", err);
	x->moved = rc == INGEST_MOVED;
	if (rc != 0)
		return rc > 0 ? 0 : rc;
	rc = clear_file(conn, s, err);
	if (rc == 0)
		rc = send_pieces(conn, x, size, err);
	parser_state(&x->parser, x->parser.tail_id, &state);
	if (rc == 0)
		rc = ingest_file_step(conn, s->rec.id, x->new_op, x->new_op, size, state.data, err);
	return rc;
}

int ingest_send_file(struct call *call, struct ingest_stream *s, int fd, bool *moved) {
	struct ingest_unit unit = { 0 };
	struct sending x = { .call = call, .s = s, .unit = &unit, .fd = fd };
	ledger_new_op(x.new_op);
	int rc = db_transaction(s->fs->pool, send_file_in_tx, &x, DB_REPEATABLE, NULL, &call->err);
	*moved = x.moved;
	parser_free(
		&x.parser); /* a repetition may have found itself done: the record says where it stands */
	ingest_unit_clear(&unit);
	return finish(&x, rc);
}
