/* One transaction: bytes, rows, and the record's change.
 *
 * Lines are gathered in a batch of the stream's own, which goes to the server while they come in.
 * When it is to be committed, it is sealed: from then on it is one operation, with a name (op) that
 * the ledger and the record know, and takes no more lines. After a failure it stays as it is, and
 * the next attempt finds out what became of it. */
#include "fs/cache/coherence.h"
#include "fs/stream/batch.h"
#include "fs/files/ingest.h"
#include "fs/stream/ingest_rows.h"
#include "fs/files/ingest_twin.h"
#include "fs/bytes/scratch.h"
#include "schema/statements/ingest_sql.h"
#include "schema/state/ingest_twin.h"
#include "util/text/utf8.h"
#include "fs/stream/once.h"
#include "util/clock.h"
#include "util/states.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

enum { PIECE = 256 << 10 };

enum sending_state {
	SENDING_GATHERS, /* it takes lines, which may go ahead */
	SENDING_SEALED,  /* one operation: what it has is committed once, all of it */
	SENDING_DONE,    /* it is committed */
	SENDING_STATES
};

enum sending_event { SENDING_GATHER, SENDING_SEAL, SENDING_TRY, SENDING_COMMITTED, SENDING_EVENTS };

static const char *const states[SENDING_STATES] = {
	[SENDING_GATHERS] = "gathers",
	[SENDING_SEALED] = "sealed",
	[SENDING_DONE] = "done",
};
static const char *const events[SENDING_EVENTS] = {
	[SENDING_GATHER] = "gather",
	[SENDING_SEAL] = "seal",
	[SENDING_TRY] = "try",
	[SENDING_COMMITTED] = "committed",
};

/* A commit that fails leaves it sealed: the next one finds out what became of it. If another mount
 * came first, or the stream is reset, it is freed in any state: its bytes are parsed again. */
static const state_next moves[SENDING_STATES][SENDING_EVENTS] = {
	[SENDING_GATHERS][SENDING_GATHER] = STATE_TO(SENDING_GATHERS),
	[SENDING_GATHERS][SENDING_SEAL] = STATE_TO(SENDING_SEALED),
	[SENDING_SEALED][SENDING_TRY] = STATE_TO(SENDING_SEALED),
	[SENDING_SEALED][SENDING_COMMITTED] = STATE_TO(SENDING_DONE),
};

static struct state_table sending_states = STATE_TABLE("ingest_sending", states, events, moves);

/* Ids as text of an int8multirange. Neighbours make one range. */
struct ranges {
	struct buf text;
	int64_t first, last;
	bool any;
};

struct ingest_sending {
	struct batch_owner owner; /* the first member: of_owner() */
	struct batch_target target;
	struct ingest_stream *s;
	const struct ingest_parser *parser; /* where the lines come from */
	struct batch *batch;
	char *copy;           /* the statement; owned */
	struct shape *shapes; /* of lines that do not go by COPY; owned, as each of them */
	int nshapes;
	struct ranges ids;
	int64_t last_id; /* of the line that was gathered last */
	enum sending_state stage;
	/* once it is sealed */
	struct once op;
	bool moved;              /* another mount came first */
	struct refusals refused; /* by the parser */
	size_t len;              /* pending bytes that it commits */
	uint64_t size;           /* of the file afterwards */
	struct ingest_chunk chunk;
	struct buf state;
	bool has_tail;   /* the last line that was gathered is the unfinished one */
	bool parts;      /* its rows came in parts of the transaction */
	bool takes;      /* the rows of s->twin */
	struct buf kept; /* what is to be told of rows that stay */
};

static void move(struct ingest_sending *x, enum sending_event event) {
	x->stage = (enum sending_state)state_move(&sending_states, x->stage, event);
}

static struct ingest_sending *of_owner(struct batch_owner *owner) {
	return (struct ingest_sending *)owner;
}

/* -- ids --------------------------------------------------------------------------------------- */

static void end_range(struct ranges *r) {
	if (r->any)
		buf_printf(&r->text, "%s[%lld,%lld]", r->text.len > 0 ? "," : "{",
			   (long long)r->first, (long long)r->last);
	r->any = false;
}

static void add_id(struct ranges *r, int64_t id) {
	if (r->any && id == r->last + 1) {
		r->last = id;
		return;
	}
	end_range(r);
	r->any = true;
	r->first = r->last = id;
}

/* The whole text; NULL: there are none. */
static const char *ranges_text(struct ranges *r) {
	end_range(r);
	if (r->text.len > 0 && r->text.data[r->text.len - 1] != '}')
		buf_putc(&r->text, '}');
	return r->text.data;
}

/* -- lines ------------------------------------------------------------------------------------- */

static int insert_objects(struct db_conn *conn, struct batch_owner *owner, const struct batch *b,
			  int low, int high, size_t at, struct db_error *err) {
	const struct ingest_sending *x = of_owner(owner);
	const struct shape *shape = &x->shapes[b->lines[low].group];
	AUTO_FREE char *sql =
		ingest_insert_sql(x->s->in, (const char *const *)shape->names, shape->n);
	AUTO_BUF struct buf lines = { 0 }, ids = { 0 };
	buf_putc(&lines, '['); /* there may be no line: batch_send() tries that */
	buf_putc(&ids, '[');
	for (int i = low; i < high; i++) {
		const struct batch_line *line = &b->lines[i];
		const char *text = b->data.data + at;
		buf_puts(&lines, i > low ? "," : "");
		/* it stays as it is in the batch: that is what rejected/ gets */
		if (!ingest_put_object(x->s->in->format, shape, text + line->id_len,
				       line->len - line->id_len, &lines))
			return db_error_set(err, EIO, "BUG: a line that was judged is no record");
		buf_puts(&ids, i > low ? "," : "");
		buf_add(&ids, text, line->id_len - 1);
		at += line->len;
	}
	buf_putc(&lines, ']');
	buf_putc(&ids, ']');
	if (sql == NULL || lines.failed || ids.failed)
		return db_error_set(err, ENOMEM, "out of memory");
	struct db_param params[] = { { .data = lines.data, .len = lines.len, .oid = DB_TEXT },
				     { .data = ids.data, .len = ids.len, .oid = DB_TEXT } };
	return db_query_on(conn, sql, params, 2, NULL, err);
}

/* Puts UNIT's lines, which have their ids, into the batch: those of one shape together. */
static int put_lines(struct ingest_sending *x, struct ingest_unit *unit) {
	AUTO_FREE struct unit_line *lines = calloc((unsigned)unit->n, sizeof(*lines));
	int n = 0;
	if (lines == NULL)
		return -ENOMEM;
	for (int shape = 0; n < unit->n; shape++) {
		for (int i = 0; i < unit->n; i++) {
			const struct ingest_line *line = &unit->lines[i];
			if (line->shape != shape)
				continue;
			lines[n++] = (struct unit_line){
				.text = ingest_line_text(unit, line),
				.len = (uint32_t)line->len - 1, /* its line end */
				.group = line->shape,
				.number = line->number,
				.id = line->id,
			};
		}
	}
	const struct unit all = { .lines = lines,
				  .n = unit->n,
				  .tally = unit->uncounted ? NULL : &unit->tally };
	return batch_put(x->batch, NULL, &all);
}

/* Takes the lines out of UNIT, with ids that are drawn on CONN, or with NULL by the pool. */
static int gather(struct ingest_sending *x, struct ingest_unit *unit, struct id_stock *stock,
		  struct db_conn *conn, struct db_error *err) {
	const struct ingest *in = x->s->in;
	move(x, SENDING_GATHER);
	if (unit->n == 0)
		return 0;
	int rc = id_stock_fill(stock, in, unit->n, x->s->fs->pool, conn, err);
	if (rc != 0)
		return rc;
	if (in->by_copy && x->copy == NULL)
		x->target.copy = x->copy =
			ingest_copy_sql(in, x->parser->reader.order, x->parser->reader.n);
	for (int i = 0; i < unit->n; i++) {
		x->last_id = unit->lines[i].id = id_stock_take(stock);
		add_id(&x->ids, x->last_id);
	}
	if ((in->by_copy && x->copy == NULL) || put_lines(x, unit) != 0)
		return db_error_set(err, ENOMEM, "out of memory");
	if (!in->by_copy) { /* all lines are gathered at once */
		x->nshapes = unit->nshapes;
		x->shapes = move_ptr(unit->shapes);
		unit->nshapes = 0;
	}
	ingest_unit_clear_lines(unit);
	return 0;
}

/* -- beside the lines -------------------------------------------------------------------------- */

static int another_came(struct ingest_sending *x, struct db_error *err) {
	x->moved = true;
	return db_error_set(err, ESTALE, "another mount has written the file meanwhile: try again");
}

static int lock_file(struct db_conn *conn, struct ingest_sending *x, struct db_error *err) {
	int rc = ingest_file_lock(conn, x->s->rec.id, x->s->rec.op, x->op.id, x->s->in->of_table,
				  err);
	return rc == INGEST_MOVED ? another_came(x, err) : rc;
}

static int lock(struct db_conn *conn, struct batch_owner *owner, struct db_error *err) {
	of_owner(owner)->parts = true;
	return lock_file(conn, of_owner(owner), err);
}

/* CHANGED: the same file in another version, whose rows are replaced in any case; else another
 * content has come to its name. */
static int clear_file(struct db_conn *conn, const struct ingest_stream *s, bool changed,
		      const char *fresh, struct buf *kept, struct db_error *err) {
	int rc = ingest_twin_give_back(conn, s->rec.id, err);
	if (rc == 0)
		rc = s->w.place->route->keep_replaced && !changed
			     ? ingest_file_forget(conn, s->rec.id, err)
			     : ingest_rows_delete(conn, s->fs->stream, s->in, s->rec.id, 0, fresh,
						  kept, err);
	return rc == 0 ? ingest_file_clear(conn, s->rec.id, err) : rc;
}

/* What the bytes replace. */
static int remove_old(struct db_conn *conn, struct ingest_sending *x, struct db_error *err) {
	const struct ingest_stream *s = x->s;
	int rc = s->replacing ? lock_file(conn, x, err) : 0;
	if (rc == 0 && s->replacing)
		rc = clear_file(conn, s, false, ranges_text(&x->ids), &x->kept, err);
	if (rc == 0 && s->old_tail != NULL)
		rc = ingest_rows_delete(conn, s->fs->stream, s->in, s->rec.id,
					strtoll(s->old_tail, NULL, 10), ranges_text(&x->ids),
					&x->kept, err);
	return rc;
}

static int finish(struct db_conn *conn, struct batch_owner *owner, struct db_error *err) {
	struct ingest_sending *x = of_owner(owner);
	AUTO_FREE char *xids = ingest_xids_sql(x->s->in, x->parts, INGEST_RANGES_PARAM);
	const struct ingest_change change = {
		.id = x->s->rec.id,
		.of_table = x->s->in->of_table,
		.old_op = x->s->rec.op,
		.new_op = x->op.id,
		.size = x->size,
		.state = x->state.data,
		.chunk = &x->chunk,
		.ranges = ranges_text(&x->ids),
		.xids = xids,
	};
	int rc = xids != NULL ? 0 : db_error_set(err, ENOMEM, "out of memory");
	if (rc == 0 && x->takes)
		rc = ingest_twin_lock(conn, x->s->twin, x->op.id, x->s->in->of_table, err);
	if (rc == 0)
		rc = remove_old(conn, x, err);
	if (rc == 0)
		rc = ingest_file_change(conn, &change, err);
	if (rc == 0 && x->takes)
		rc = ingest_twin_take_rows(conn, x->s->twin, x->s->rec.id, x->op.id, err);
	return rc == INGEST_MOVED ? another_came(x, err) : rc;
}

/* -- a transaction's life ---------------------------------------------------------------------- */

static struct ingest_sending *sending_new(struct ingest_stream *s,
					  const struct ingest_parser *parser) {
	struct ingest_sending *x = calloc(1, sizeof(*x));
	if (x == NULL || (x->batch = batch_new(1)) == NULL) {
		free(x);
		return NULL;
	}
	x->s = s;
	x->parser = parser;
	x->owner = (struct batch_owner){ .lock = lock, .finish = finish };
	if (!s->in->by_copy) {
		x->owner.send = insert_objects;
		x->parts = true;
	}
	x->target = (struct batch_target){ .engine = s->fs->stream,
					   .once = &x->op,
					   .owner = &x->owner };
	return x;
}

void ingest_sending_free(struct ingest_sending *x) {
	if (x == NULL)
		return;
	for (int i = 0; i < x->nshapes; i++)
		shape_free(&x->shapes[i]);
	free(x->shapes);
	free(x->copy);
	batch_free(x->batch);
	refusals_clear(&x->refused);
	ingest_chunk_free(&x->chunk);
	buf_free(&x->state);
	buf_free(&x->ids.text);
	buf_free(&x->kept);
	free(x);
}

#define AUTO_SENDING __attribute__((cleanup(sending_cleanup)))

static void sending_cleanup(struct ingest_sending **x) {
	ingest_sending_free(*x);
}

/* The triggers must count what is deleted. */
static void see_deletions(struct ingest_stream *s) {
	s->unit.uncounted = s->unit.uncounted || s->replacing || s->old_tail != NULL;
}

int ingest_gather(struct ingest_stream *s, size_t *text, struct db_error *err) {
	*text = s->unit.text.len;
	if (!s->in->by_copy || s->unit.n == 0)
		return 0;
	if (s->sending == NULL && (s->sending = sending_new(s, &s->parser)) == NULL)
		return -ENOMEM;
	struct ingest_sending *x = s->sending;
	see_deletions(s);
	int rc = gather(x, &s->unit, &s->ids, NULL, err);
	if (rc == 0)
		batch_feed(x->batch, &x->target);
	*text = x->batch->data.len;
	return rc;
}

bool ingest_is_sealed(const struct ingest_stream *s) {
	return s->sending != NULL && s->sending->stage == SENDING_SEALED;
}

int ingest_seal(struct ingest_stream *s, size_t len, struct db_error *err) {
	uint64_t base = s->replacing ? 0 : s->rec.size;
	AUTO_BUF struct buf tail = { 0 };
	if (s->sending == NULL && (s->sending = sending_new(s, &s->parser)) == NULL)
		return -ENOMEM;
	struct ingest_sending *x = s->sending;
	see_deletions(s);
	x->has_tail = s->unit.has_tail;
	int rc = gather(x, &s->unit, &s->ids, NULL, err);
	batch_feed_rest(x->batch, &x->target); /* the server works while the bytes are compressed */
	if (rc == 0)
		rc = once_begin(s->fs->stream, &x->op, err);
	if (rc != 0)
		return rc;
	if (x->has_tail)
		buf_printf(&tail, "%lld", (long long)x->last_id);
	parser_state(&s->parser, x->has_tail ? tail.data : s->parser.tail_id, &x->state);
	x->takes = s->twin_whole;
	if (s->twin != NULL)
		ingest_twin_put_state(s->twin, x->takes, &x->state);
	x->len = len;
	x->size = base + len;
	(void)ranges_text(&x->ids);
	if (!ingest_chunk_make(&x->chunk, base, s->pending.data, len, !s->gzip) ||
	    x->state.failed || tail.failed || x->ids.text.failed ||
	    !refusals_move_or_fold(&x->refused, &s->unit.refused))
		return db_error_set(err, ENOMEM, "out of memory");
	move(x, SENDING_SEAL);
	return 0;
}

static void told(struct ingest_stream *s, const struct refusals *list) {
	keep_first(&s->deferred, refusals_tell(list, s->fs->stream, s->w.path));
}

/* The record has taken the step to OP. */
static void changed(struct ingest_stream *s, const char *op) {
	snprintf(s->rec.op, sizeof(s->rec.op), "%s", op);
	s->rec.changed_us = clock_now_ns() / 1000;
}

/* It is committed: the stream stands behind it. */
static void settle(struct ingest_sending *x) {
	struct ingest_stream *s = x->s;
	move(x, SENDING_COMMITTED);
	told(s, &x->refused);
	told(s, &x->batch->refused);
	ingest_rows_tell(s->fs->stream, s->w.path, &x->kept);
	if (x->takes)
		ingest_twin_free(move_ptr(s->twin));
	s->twin_whole = false;
	changed(s, x->op.id);
	if (s->replacing)
		buf_resize(&s->chunk, 0);
	s->replacing = false;
	s->rec.size = x->size;
	s->seen_us = clock_us();
	free(s->rec.state);
	s->rec.state = buf_take(&x->state);
	buf_consume(&s->pending, x->len);
	s->parsed -= x->len;
	free(move_ptr(s->old_tail));
	if (x->has_tail) {
		free(s->parser.tail_id);
		if (asprintf(&s->parser.tail_id, "%lld", (long long)x->last_id) < 0) {
			s->parser.tail_id = NULL; /* the record's state says it */
			parser_free(&s->parser);
			s->parsing = false;
		}
	}
	s->began_us = s->pending.len > 0 ? clock_us() : 0;
	ingest_sending_free(move_ptr(s->sending));
}

int ingest_send(struct call *call, struct ingest_stream *s, bool *moved) {
	struct ingest_sending *x = s->sending;
	move(x, SENDING_TRY);
	x->moved = false;
	enum sent end = batch_commit(x->batch, &x->target, &call->err);
	*moved = x->moved;
	if (x->moved) {
		db_error_clear(&call->err);
		return 0;
	}
	if (end == SENT) {
		settle(x);
		return 0;
	}
	once_failed(s->fs->stream, &x->op, -call->err.errnum, &call->err);
	return -call->err.errnum;
}

/* -- the whole content ------------------------------------------------------------------------- */

struct whole {
	struct call *call;
	struct ingest_stream *s;
	int fd;
	bool last; /* a last line that is none is refused */
	struct once op;
	bool moved;
	struct ingest_parser parser;
	struct refusals refused;
	struct buf kept;          /* what is to be told of rows that stay */
	struct ingest_twin *twin; /* the file that it follows, or NULL; owned */
	bool takes;               /* and whose rows it takes */
};

/* The lines that one piece has completed. */
static int send_lines(struct db_conn *conn, struct whole *w, struct ingest_unit *unit,
		      struct db_error *err) {
	struct ingest_stream *s = w->s;
	AUTO_SENDING struct ingest_sending *x = sending_new(s, &w->parser);
	struct id_stock stock = { 0 };
	bool has_tail = unit->has_tail;
	if (x == NULL)
		return db_error_set(err, ENOMEM, "out of memory");
	bool kept = refusals_move_or_fold(&w->refused, &unit->refused);
	int rc = gather(x, unit, &stock, conn, err);
	id_stock_free(&stock);
	if (rc == 0)
		rc = batch_send(conn, x->batch, &x->target, err);
	kept = kept && refusals_move_or_fold(&w->refused, &x->batch->refused);
	const char *ranges = ranges_text(&x->ids);
	AUTO_FREE char *xids = ingest_xids_sql(s->in, true, INGEST_ADD_PARAM);
	if (rc == 0 && ranges != NULL)
		rc = ingest_file_add_rows(conn, s->rec.id, ranges, xids, err);
	if (has_tail && asprintf(&w->parser.tail_id, "%lld", (long long)x->last_id) < 0)
		w->parser.tail_id = NULL, kept = false;
	return rc == 0 && !kept ? db_error_set(err, ENOMEM, "out of memory") : rc;
}

/* One piece of the file: its bytes, and the lines that it completes. */
static int send_piece(struct db_conn *conn, struct whole *w, const char *data, size_t len,
		      uint64_t at, bool last, struct db_error *err) {
	/* the triggers count: to ask for time buckets would take a second connection */
	struct ingest_unit unit = { .uncounted = true };
	struct ingest_chunk chunk = { 0 };
	struct refusals bad = { 0 };
	int rc = parser_feed(&w->parser, data, len, last ? RECORD_SYNC : RECORD_MORE, &unit);
	if (w->twin != NULL) /* they are rows already */
		ingest_unit_clear(&unit);
	if (rc == 0 && last && w->twin == NULL)
		rc = parser_tail(&w->parser, &unit, w->last, &bad);
	if (rc != 0 || !ingest_chunk_make(&chunk, at, data, len, !w->s->gzip))
		rc = db_error_set(err, ENOMEM, "out of memory");
	if (rc == 0 && len > 0)
		rc = ingest_file_add(conn, w->s->rec.id, &chunk, err);
	if (rc == 0)
		rc = send_lines(conn, w, &unit, err);
	ingest_chunk_free(&chunk);
	ingest_unit_clear(&unit);
	refusals_clear(&bad);
	return rc;
}

static int send_pieces(struct db_conn *conn, struct whole *w, uint64_t size, struct db_error *err) {
	AUTO_FREE char *data = malloc(PIECE);
	uint64_t at = 0;
	int rc = data != NULL ? 0 : db_error_set(err, ENOMEM, "out of memory");
	while (rc == 0) {
		size_t want = size - at < PIECE ? (size_t)(size - at) : PIECE;
		ssize_t n = pread(w->fd, data, want, (off_t)at);
		if (n < 0 || (size_t)n != want)
			return db_error_set(err, EIO, "the copy of the file cannot be read");
		rc = send_piece(conn, w, data, want, at, at + want == size, err);
		at += want;
		if (at == size)
			break;
	}
	return rc;
}

static int change_all(struct db_conn *conn, struct whole *w, uint64_t size, struct db_error *err) {
	struct ingest_stream *s = w->s;
	AUTO_BUF struct buf state = { 0 };
	bool changed = w->fd == scratch_fd(s->copy) && !s->replacing;
	int rc = clear_file(conn, s, changed, NULL, &w->kept, err);
	if (rc == 0)
		rc = send_pieces(conn, w, size, err);
	parser_state(&w->parser, w->takes ? ingest_twin_tail(w->twin) : w->parser.tail_id, &state);
	if (w->twin != NULL)
		ingest_twin_put_state(w->twin, w->takes, &state);
	const struct ingest_change change = {
		.id = s->rec.id,
		.of_table = s->in->of_table,
		.old_op = s->rec.op,
		.new_op = w->op.id,
		.size = size,
		.state = state.data,
		.chunk = &(struct ingest_chunk){ 0 },
	};
	if (rc == 0)
		rc = ingest_file_change(conn, &change, err);
	return rc == 0 && w->takes ? ingest_twin_take_rows(conn, w->twin, s->rec.id, w->op.id, err)
				   : rc;
}

static int send_file_in_tx(struct db_conn *conn, void *arg, struct db_error *err) {
	struct whole *w = arg;
	struct ingest_stream *s = w->s;
	struct stat st;
	refusals_clear(&w->refused);
	parser_free(&w->parser);
	if (fstat(w->fd, &st) != 0 ||
	    parser_begin(&w->parser, s->fs->stream, s->in, s->gzip, NULL) != 0)
		return db_error_set(err, EIO, "the copy of the file cannot be read");
	int rc = ingest_file_lock(conn, s->rec.id, s->rec.op, w->op.id, s->in->of_table, err);
	if (rc == 0 && w->takes)
		rc = ingest_twin_lock(conn, w->twin, w->op.id, s->in->of_table, err);
	w->moved = rc == INGEST_MOVED;
	if (rc != 0)
		return rc > 0 ? 0 : rc;
	return change_all(conn, w, (uint64_t)st.st_size, err);
}

void ingest_tell_cut(const struct ingest_stream *s, const struct ingest_parser *p) {
	AUTO_BUF struct buf why = { 0 };
	if (!s->in->gzip || p->gz.mode != GUNZIP_INSIDE)
		return;
	buf_printf(
		&why,
		"the compressed data is cut short: it ends at byte %llu, inside the member that begins at byte %llu",
		(unsigned long long)p->gz.at, (unsigned long long)p->gz.member_at);
	if (p->text.len > 0)
		buf_printf(
			&why,
			"; line %llu has no end, and waits for its rest: \"%.*s\" (append the rest, or write the file anew)",
			(unsigned long long)p->reader.records.lines + 1,
			(int)utf8_prefix(p->text.data, p->text.len < 200 ? p->text.len : 200),
			p->text.data);
	/* who reads the sentence finds it counted */
	atomic_fetch_add(&s->fs->count.gzip_cut, 1);
	report_error(s->fs->report, s->w.path, EINVAL, "", why.failed ? "" : why.data);
}

/* Of the copy of the file: a twin_read. */
static int read_copy(struct call *call, void *arg, uint64_t offset, struct buf *out) {
	const struct whole *w = arg;
	return buf_pread(out, w->fd, PIECE, offset);
}

int ingest_send_file(struct call *call, struct ingest_stream *s, int fd, bool last, bool *moved) {
	struct whole w = { .call = call, .s = s, .fd = fd, .last = last };
	enum twin_text text;
	int rc = ingest_twin_compare_file(call, s, read_copy, &w, &w.twin, &text);
	w.takes = text == TWIN_WHOLE;
	if (rc == 0)
		rc = once_run(call->fs->stream, 0, send_file_in_tx, &w, &w.op, &call->err);
	ingest_twin_free(w.twin);
	*moved = w.moved;
	if (rc == 0 && !w.moved)
		ingest_tell_cut(s, &w.parser);
	/* a repetition may have found itself done: the record says where it stands */
	parser_free(&w.parser);
	if (rc == 0 && !w.moved) {
		told(s, &w.refused);
		changed(s, w.op.id);
		ingest_rows_tell(s->fs->stream, s->w.path, &w.kept);
	}
	coherence_changed(s->fs, &call->err);
	buf_free(&w.kept);
	refusals_clear(&w.refused);
	return rc;
}
