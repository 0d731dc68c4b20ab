#include "fs/stream/batch.h"
#include "schema/state/ledger.h"

#include "util/text/array.h"
#include "util/text/csv.h"
#include "util/clock.h"
#include "util/list.h"

#include <errno.h>
#include <string.h>
#include <time.h>

enum {
	/* lines that go as one prepared statement; a COPY costs more up to about there */
	SMALL = 32,
	FEED = 64 * 1024,           /* bytes that are worth sending before the batch is full */
	MEMORY_PAUSE_MOST_MS = 256, /* pauses for memory to be free again: 1, 4, ... */
};

static const char *const states[BATCH_STATES] = {
	[BATCH_OPEN] = "open",
	[BATCH_WAITS] = "waits",
	[BATCH_FED] = "fed",
	[BATCH_WHOLE] = "whole",
};
static const char *const events[BATCH_EVENTS] = {
	[BATCH_MAY] = "may",
	[BATCH_HOLD] = "hold",
	[BATCH_FEED] = "feed",
	[BATCH_COMMIT] = "commit",
};

/* A batch that is whole stays so, whatever becomes of the one before it: it is sent behind that one
 * in any case. */
static const state_next moves[BATCH_STATES][BATCH_EVENTS] = {
	[BATCH_OPEN][BATCH_MAY] = STATE_TO(BATCH_OPEN),
	[BATCH_OPEN][BATCH_HOLD] = STATE_TO(BATCH_WAITS),
	[BATCH_OPEN][BATCH_FEED] = STATE_TO(BATCH_FED),
	[BATCH_OPEN][BATCH_COMMIT] = STATE_TO(BATCH_WHOLE),

	[BATCH_WAITS][BATCH_MAY] = STATE_TO(BATCH_OPEN),
	[BATCH_WAITS][BATCH_HOLD] = STATE_TO(BATCH_WAITS),

	[BATCH_FED][BATCH_MAY] = STATE_TO(BATCH_FED),
	[BATCH_FED][BATCH_HOLD] = STATE_TO(BATCH_WAITS),
	[BATCH_FED][BATCH_FEED] = STATE_TO(BATCH_FED),
	[BATCH_FED][BATCH_COMMIT] = STATE_TO(BATCH_WHOLE),

	[BATCH_WHOLE][BATCH_MAY] = STATE_TO(BATCH_WHOLE),
	[BATCH_WHOLE][BATCH_HOLD] = STATE_TO(BATCH_WHOLE),
	[BATCH_WHOLE][BATCH_COMMIT] = STATE_TO(BATCH_WHOLE),
};

/* A batch that is sent as a whole asks the ledger first: that is right in any case. */
struct state_table batch_states =
	STATE_TABLE_SAFE("batch", states, events, moves, STATE_TO(BATCH_WHOLE));

static void move(struct batch *b, enum batch_event event) {
	b->state = (enum batch_state)state_move(&batch_states, b->state, event);
}

struct batch *batch_new(uint64_t number) {
	struct batch *b = calloc(1, sizeof(*b));
	if (b == NULL)
		return NULL;
	b->number = number;
	b->counted = true;
	return b;
}

/* The COPY, which does not wait for lines any more; NULL if there is none. */
static struct db_copy_in *take_copy(struct batch *b) {
	if (b->feeding != NULL)
		atomic_fetch_sub(b->feeding, 1);
	b->feeding = NULL;
	return move_ptr(b->copy);
}

void batch_reset(struct batch *b, uint64_t number, enum batch_state state) {
	db_copy_in_abort(take_copy(b));
	buf_free(&b->data);
	tally_free(&b->tally);
	refusals_clear(&b->refused);
	for (int i = 0; i < b->nsources; i++)
		source_drop(b->sources[i]);
	free(b->sources);
	free(b->lines);
	*b = (struct batch){ .number = number, .state = state, .counted = true };
}

void batch_free(struct batch *b) {
	if (b == NULL)
		return;
	batch_reset(b, 0, BATCH_OPEN);
	free(b);
}

/* -- gathering --------------------------------------------------------------------------------- */

static bool make_room(struct batch *b, int n) {
	if (b->n + n <= b->room)
		return true;
	int room = b->room > 0 ? b->room : 64;
	while (room < b->n + n)
		room *= 2;
	struct batch_line *lines = reallocarray(b->lines, (size_t)room, sizeof(*lines));
	if (lines == NULL)
		return false;
	b->lines = lines;
	b->room = room;
	return true;
}

/* Keeps SOURCE as long as the batch lives. */
static bool keep_source(struct batch *b, struct source *source) {
	for (int i = b->nsources; source != NULL && i-- > 0;)
		if (b->sources[i] == source)
			source = NULL;
	if (source == NULL)
		return true;
	if (!list_room(b->sources, b->nsources))
		return false;
	b->sources[b->nsources++] = source_hold(source);
	return true;
}

/* Bytes that UNIT takes at most. */
static size_t length(const struct unit *unit) {
	enum { ID_MOST = 21 }; /* a number of 64 bits, and a comma */
	size_t len = 0;
	for (int i = 0; i < unit->n; i++)
		len += 1 + unit->lines[i].len + unit->tail_len + 1 + ID_MOST;
	return len;
}

/* There is room for it. */
static void put_line(struct batch *b, struct source *source, const struct unit *unit,
		     const struct unit_line *line) {
	size_t at = b->data.len;
	struct batch_line *out = &b->lines[b->n++];
	*out = (struct batch_line){ .group = line->group,
				    .number = line->number,
				    .source = source };
	if (line->id != 0)
		buf_printf(&b->data, "%lld,", (long long)line->id);
	if (unit->lead != '\0')
		buf_putc(&b->data, unit->lead);
	out->id_len = (uint32_t)(b->data.len - at);
	buf_add(&b->data, line->text, line->len);
	if (unit->tail != NULL)
		buf_add(&b->data, unit->tail, unit->tail_len);
	buf_putc(&b->data, '\n');
	out->len = (uint32_t)(b->data.len - at);
}

int batch_put(struct batch *b, struct source *source, const struct unit *unit) {
	buf_reserve(&b->data, b->data.len + length(unit) + 1);
	bool room = !b->data.failed && make_room(b, unit->n) && keep_source(b, source);
	b->data.failed = false; /* nothing was lost: there was only no room for more */
	if (!room)
		return -ENOMEM;
	if (b->began_us == 0)
		b->began_us = clock_us();
	for (int i = 0; i < unit->n; i++)
		put_line(b, source, unit, &unit->lines[i]);
	if (unit->n > 0 && (unit->tally == NULL || !tally_add(&b->tally, unit->tally)))
		b->counted = false;
	return 0;
}

struct buf batch_array(const struct batch *b, int low, int high, size_t at) {
	static char none[] = "[]";
	struct buf array = { .data = low < high ? b->data.data + at : none };
	for (int i = low; i < high; i++)
		array.len += b->lines[i].len;
	if (low < high) {
		array.data[0] = '[';
		array.data[array.len - 1] = ']';
	} else {
		array.len = strlen(none);
	}
	return array;
}

void batch_array_end(struct buf *array) {
	if (array->len > strlen("[]")) {
		array->data[0] = ',';
		array->data[array->len - 1] = '\n';
	}
	*array = (struct buf){ 0 };
}

void batch_follow(struct batch *b, bool may) {
	move(b, may ? BATCH_MAY : BATCH_HOLD);
	if (may)
		return;
	db_copy_in_abort(take_copy(b)); /* rolls back what was sent ahead */
	b->fed = 0;
}

/* Another COPY may wait for lines: enough connections stay for everybody else. */
static bool may_wait(struct batch *b, struct engine *engine) {
	if (atomic_fetch_add(&engine->feeding, 1) >= engine->feeding_most) {
		atomic_fetch_sub(&engine->feeding, 1);
		return false;
	}
	b->feeding = &engine->feeding;
	return true;
}

static bool can_count(const struct batch *b, const struct batch_target *to) {
	return b->counted && to->once != NULL;
}

static int feed(struct batch *b, const struct batch_target *to, struct db_error *err) {
	bool counts = can_count(b, to);
	if (b->copy != NULL && b->silent && !counts)
		return -EAGAIN; /* the triggers are to count after all */
	if (b->copy == NULL) {
		const char *setup = counts ? stream_no_triggers : NULL;
		int rc = db_copy_in_begin(to->engine->pool, setup, to->copy, &b->copy, err);
		if (rc != 0)
			return rc;
		b->silent = counts;
	}
	int rc = db_copy_in_put(b->copy, b->data.data + b->fed, b->data.len - b->fed, err);
	b->fed = b->data.len;
	return rc;
}

/* Sends what was not sent yet. If that fails, whatever it was, the batch is sent as a whole when it
 * is committed, and is judged then. */
static void feed_all(struct batch *b, const struct batch_target *to) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	if (feed(b, to, &err) == 0) {
		move(b, BATCH_FEED);
		return;
	}
	db_copy_in_abort(take_copy(b));
	move(b, BATCH_COMMIT);
}

void batch_feed(struct batch *b, const struct batch_target *to) {
	if (b->data.len - b->fed < FEED)
		return;
	/* a transaction that began before the one of the batch before has ended would not see what
	 * that one did to the ledger */
	bool may = b->state == BATCH_OPEN && !db_pool_one_snapshot(to->engine->pool) &&
		   may_wait(b, to->engine);
	if (may || b->state == BATCH_FED)
		feed_all(b, to);
	if (b->copy == NULL)
		(void)take_copy(b);
}

void batch_feed_rest(struct batch *b, const struct batch_target *to) {
	if (b->state == BATCH_FED && b->fed < b->data.len)
		feed_all(b, to);
}

/* -- what is committed beside the lines -------------------------------------------------------- */

struct sending {
	struct batch *b;
	struct batch_target *to;
	bool counts; /* the tally is sent, the triggers are off */
	bool done;   /* an earlier attempt was committed: see ask() */
	bool plain;  /* all lines go at once: few are refused, and savepoints cost the others */
};

static int count_lines(struct db_conn *conn, const struct sending *s, struct db_error *err) {
	struct db_param params[TALLY_PARAMS];
	struct tally_texts texts;
	int rc = tally_params(&s->b->tally, &texts, params)
			 ? db_query_on(conn, tally_sql, params, TALLY_PARAMS, NULL, err)
			 : db_error_set(err, ENOMEM, "out of memory");
	tally_texts_free(&texts);
	return rc;
}

/* The ledger, the owner's part, and the counts: the last part of a batch's transaction, so that
 * rows which others may wait for are held shortly. */
static int finish(struct db_conn *conn, void *arg, struct db_error *err) {
	struct sending *s = arg;
	struct batch_owner *owner = s->to->owner;
	int rc = 0;
	if (s->to->follow != NULL)
		s->to->follow(s->to->lane, true);
	if (s->to->once != NULL)
		rc = ledger_enter(conn, s->to->engine->has_ledger, s->to->once, err);
	if (rc == 0 && owner != NULL && owner->finish != NULL)
		rc = owner->finish(conn, owner, err);
	if (rc == 0 && s->counts && s->b->tally.n > 0)
		rc = count_lines(conn, s, err);
	return rc;
}

/* -- few lines: one statement ------------------------------------------------------------------ */

static bool put_arrays(const struct batch *b, struct buf *arrays, int ncolumns) {
	const char *at = b->data.data;
	bool ok = true;
	for (int i = 0; ok && i < b->n; i++) {
		AUTO_CSV struct csv_record record = { 0 };
		AUTO_BUF struct buf why = { 0 };
		ok = csv_split(at, b->lines[i].len - 1, &record, &why) == 0 && record.n == ncolumns;
		for (int c = 0; ok && c < ncolumns; c++) {
			const struct csv_field *field = &record.fields[c];
			array_add(&arrays[c], field->null ? NULL : field->text, field->len);
		}
		at += b->lines[i].len;
	}
	for (int c = 0; c < ncolumns; c++) {
		array_end(&arrays[c]);
		ok = ok && !arrays[c].failed;
	}
	return ok;
}

static enum sent run_small(struct sending *s, struct buf *arrays, struct db_error *err) {
	int n = 0, ncolumns = s->to->ncolumns;
	size_t most = LEDGER_MOVE_PARAMS + TALLY_PARAMS + (size_t)ncolumns;
	AUTO_FREE struct db_param *params = calloc(most, sizeof(*params));
	AUTO_RESULT PGresult *res = NULL;
	struct tally_texts texts = { 0 };
	char numbers[2][24];
	bool ok = params != NULL;
	struct db_statement *st = &s->to->sql->insert_bare;
	if (ok && s->to->once != NULL) {
		st = s->counts ? &s->to->sql->insert_counted : &s->to->sql->insert;
		n = ledger_move_params(s->to->once, numbers, params);
		ok = !s->counts || tally_params(&s->b->tally, &texts, params + n);
		n += s->counts ? TALLY_PARAMS : 0;
	}
	for (int c = 0; ok && c < ncolumns; c++)
		params[n++] = (struct db_param){ .data = arrays[c].data, .len = arrays[c].len };
	int rc = ok ? db_query(s->to->engine->pool, st, params, n, 0, NULL, &res, err)
		    : db_error_set(err, ENOMEM, "out of memory");
	tally_texts_free(&texts);
	if (rc == 0 && s->to->once != NULL && !stream_was_moved(res, s->b->n))
		return DO_IT_AGAIN; /* which asks the ledger first */
	return sent_of(rc, err);
}

static enum sent send_small(struct sending *s, struct db_error *err) {
	int ncolumns = s->to->ncolumns;
	AUTO_FREE struct buf *arrays = calloc((size_t)ncolumns, sizeof(*arrays));
	bool ok = arrays != NULL && put_arrays(s->b, arrays, ncolumns);
	enum sent end = ok ? run_small(s, arrays, err) : DO_IT_AGAIN;
	for (int c = 0; arrays != NULL && c < ncolumns; c++)
		buf_free(&arrays[c]);
	return end;
}

/* -- as a whole -------------------------------------------------------------------------------- */

/* Was it committed before? The answer waits for a commit that is still under way. */
static int ask(struct db_conn *conn, struct sending *s, struct db_error *err) {
	struct batch_owner *owner = s->to->owner;
	int rc = s->to->once != NULL ? ledger_ask(conn, s->to->engine->has_ledger, s->to->once, err)
				     : 0;
	if (rc == 0 && owner != NULL && owner->lock != NULL)
		rc = owner->lock(conn, owner, err);
	s->done = rc == LEDGER_DONE;
	return s->done ? 0 : rc;
}

static int send_again(struct db_conn *conn, void *arg, struct db_error *err) {
	struct sending *s = arg;
	struct batch_owner *owner = s->to->owner;
	int rc = ask(conn, s, err);
	if (rc != 0 || s->done)
		return rc;
	/* some may be refused, or are no CSV: the triggers count what stays */
	s->counts = false;
	if (!s->plain && s->b->n > 0)
		rc = db_check_constraints_on(conn, err);
	if (rc == 0)
		rc = s->plain ? owner->send(conn, owner, s->b, 0, s->b->n, 0, err)
			      : batch_send(conn, s->b, s->to, err);
	return rc == 0 ? finish(conn, s, err) : rc;
}

/* -- committing -------------------------------------------------------------------------------- */

static enum sent transact(struct sending *s, bool plain, struct db_error *err) {
	unsigned flags = s->to->once != NULL ? DB_REPEATABLE : 0;
	s->plain = plain;
	return sent_of(db_transaction(s->to->engine->pool, send_again, s, flags, NULL, err), err);
}

static enum sent send_whole(struct sending *s, struct db_error *err) {
	db_copy_in_abort(take_copy(s->b)); /* its rows would be waited for */
	move(s->b, BATCH_COMMIT);
	if (s->to->follow != NULL)
		s->to->follow(s->to->lane, false);
	return transact(s, false, err);
}

/* As it comes: by the COPY that has the first of it, or by one statement. */
static enum sent send_first(struct sending *s, struct db_error *err) {
	struct batch *b = s->b;
	const struct batch_owner *owner = s->to->owner;
	if (b->copy == NULL && b->n <= SMALL && owner == NULL)
		return send_small(s, err);
	feed_all(b, s->to);
	if (b->state == BATCH_WHOLE)
		return DO_IT_AGAIN;
	move(b, BATCH_COMMIT); /* from here on the batch can only be sent anew */
	return sent_of(db_copy_in_finish(take_copy(b), finish, s, NULL, err), err);
}

static bool another_helps(const struct sending *s, enum sent end) {
	return end == LINE_REFUSED || end == DO_IT_AGAIN ||
	       (end == IN_DOUBT && s->to->once != NULL);
}

/* Once as it comes; if another attempt can mend what that came to, again around what is refused.
 * Memory may be free again soon. */
static enum sent send_all(struct sending *s, struct db_error *err) {
	struct batch *b = s->b;
	const struct batch_owner *owner = s->to->owner;
	bool plain = owner != NULL && owner->plain && b->state != BATCH_WHOLE;
	bool whole = b->state == BATCH_WHOLE || b->n == 0 || (owner != NULL && owner->send != NULL);
	enum sent end = plain ? transact(s, true, err) : whole ? DO_IT_AGAIN : send_first(s, err);
	/* that was a transaction with all its repetitions */
	if (plain ? end != LINE_REFUSED : !another_helps(s, end))
		return end;
	for (int pause_ms = 1;; pause_ms *= 4) {
		db_error_clear(err);
		end = send_whole(s, err);
		if (end != DO_IT_AGAIN || err->errnum != ENOMEM || pause_ms > MEMORY_PAUSE_MOST_MS)
			return end;
		struct timespec pause = { .tv_nsec = pause_ms * 1000000L };
		nanosleep(&pause, NULL);
	}
}

/* -- telling ----------------------------------------------------------------------------------- */

/* Tells the sources what was refused, file by file. */
static void tell(const struct batch *b, const struct batch_target *to) {
	for (int k = 0; b->refused.n > 0 && k < b->nsources; k++)
		for (int i = 0; i < b->refused.n; i++)
			if (b->lines[b->refused.all[i].index].source == b->sources[k])
				source_tell(b->sources[k], to->engine, &b->refused.all[i], false);
}

void batch_give_up(struct batch *b, const struct batch_target *to, const struct db_error *err) {
	const char *why = err->sentence != NULL ? err->sentence : strerror(err->errnum);
	tell(b, to);
	for (int k = 0; k < b->nsources; k++) {
		char *at = b->data.data;
		for (int i = 0; i < b->n; at += b->lines[i++].len) {
			const struct batch_line *line = &b->lines[i];
			if (line->refused || line->source != b->sources[k])
				continue;
			/* borrows all: there may be no memory */
			struct refusal one = { .number = line->number,
					       .index = i,
					       .errnum = err->errnum != 0 ? err->errnum : EIO,
					       .text = at + line->id_len,
					       .len = line->len - line->id_len - 1,
					       .why = (char *)(uintptr_t)why };
			memcpy(one.sqlstate, err->sqlstate, sizeof(one.sqlstate));
			source_tell(line->source, to->engine, &one, true);
		}
	}
}

enum sent batch_commit(struct batch *b, struct batch_target *to, struct db_error *err) {
	struct sending s = { .b = b, .to = to, .counts = can_count(b, to) };
	enum sent end = b->n > 0 || to->owner != NULL ? send_all(&s, err) : SENT;
	if (end == SENT) {
		if (to->once != NULL)
			to->once->off += b->n > 0;
		atomic_fetch_add(&to->engine->count->rows_written, (unsigned)(b->n - b->refused.n));
		to->engine->changed(to->engine->arg, s.counts ? &b->tally : NULL, err);
		if (to->owner == NULL)
			tell(b, to);
		return SENT;
	}
	if (db_error_has_news(err))
		to->engine->changed(to->engine->arg, NULL, err);
	if (err->errnum == 0)
		db_error_set(err, EIO, "%s", strerror(EIO));
	if (to->owner == NULL)
		batch_give_up(b, to, err);
	return end == IN_DOUBT ? IN_DOUBT : FAILED;
}
