#include "fs/coherence.h"
#include "fs/batch.h"

#include "schema/array.h"
#include "schema/csv.h"
#include "util/clock.h"
#include "util/log.h"

#include <errno.h>
#include <string.h>

enum {
	SMALL = 32, /* lines that go as one prepared statement; a COPY costs more up to about there */
	FEED = 64 * 1024, /* bytes that are worth sending before the batch is full */
};

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

void batch_free(struct batch *b) {
	if (b == NULL)
		return;
	db_copy_in_abort(take_copy(b));
	buf_free(&b->data);
	tally_free(&b->tally);
	refusals_clear(&b->refused);
	for (int i = 0; i < b->nsources; i++)
		source_drop(b->sources[i]);
	free(b->sources);
	free(b->lines);
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
	struct source **all = reallocarray(b->sources, (size_t)b->nsources + 1, sizeof(*all));
	if (all == NULL)
		return false;
	b->sources = all;
	all[b->nsources++] = source_hold(source);
	return true;
}

int batch_put(struct batch *b, struct source *source, const struct unit *unit) {
	buf_reserve(&b->data, b->data.len + unit->len + 1);
	if (b->data.failed || !make_room(b, unit->n) || !keep_source(b, source))
		return -ENOMEM;
	if (b->began_us == 0)
		b->began_us = clock_us();
	buf_add(&b->data, unit->data, unit->len);
	for (int i = 0; i < unit->n; i++)
		b->lines[b->n++] = (struct batch_line){
			.len = unit->lines[i].len,
			.id_len = unit->lines[i].id_len,
			.group = unit->lines[i].group,
			.number = unit->lines[i].number,
			.source = source,
		};
	if (unit->n > 0 && (unit->tally == NULL || !tally_add(&b->tally, unit->tally)))
		b->counted = false;
	return 0;
}

void batch_withdraw(struct batch *b, struct source *source) {
	size_t from = 0, to = 0;
	int n = 0;
	for (int i = 0; i < b->n; i++) {
		const struct batch_line line = b->lines[i];
		if (line.source != source) {
			memmove(b->data.data + to, b->data.data + from, line.len);
			b->lines[n++] = line;
			to += line.len;
		}
		from += line.len;
	}
	if (n == b->n)
		return;
	b->n = n;
	b->counted = n == 0; /* the tally has lines that are gone: the triggers count */
	if (n == 0) {
		tally_clear(&b->tally);
		b->began_us = 0;
	}
	buf_resize(&b->data, to);
	db_copy_in_abort(take_copy(b));
	b->fed = 0;
	b->feed_failed = false;
}

/* Another COPY may wait for lines: enough connections stay for everybody else. */
static bool may_wait(struct batch *b, struct fs *fs) {
	if (atomic_fetch_add(&fs->feeding, 1) >= fs->opt->max_connections / 2 - 1) {
		atomic_fetch_sub(&fs->feeding, 1);
		return false;
	}
	b->feeding = &fs->feeding;
	return true;
}

static bool can_count(const struct batch *b, const struct batch_target *to) {
	return b->counted && (to->ledger || to->owner != NULL);
}

static int feed(struct batch *b, const struct batch_target *to, struct db_error *err) {
	bool counts = can_count(b, to);
	if (b->copy != NULL && b->silent && !counts)
		return -EAGAIN; /* the triggers are to count after all */
	if (b->copy == NULL) {
		const char *setup = counts ? stream_no_triggers : NULL;
		int rc = db_copy_in_begin(to->fs->pool, setup, to->copy, &b->copy, err);
		if (rc != 0)
			return rc;
		b->silent = counts;
	}
	int rc = db_copy_in_put(b->copy, b->data.data + b->fed, b->data.len - b->fed, err);
	b->fed = b->data.len;
	return rc;
}

/* Sends what was not sent yet. If that fails, whatever it was, the batch is sent anew when it is committed, and is judged then. */
static void feed_all(struct batch *b, const struct batch_target *to) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	if (b->feed_failed || feed(b, to, &err) == 0)
		return;
	b->feed_failed = true;
	db_copy_in_abort(take_copy(b));
}

void batch_feed(struct batch *b, const struct batch_target *to) {
	if (b->data.len - b->fed < FEED || b->feed_failed)
		return;
	if (b->copy != NULL || may_wait(b, to->fs))
		feed_all(b, to);
	if (b->copy == NULL)
		(void)take_copy(b);
}

void batch_feed_rest(struct batch *b, const struct batch_target *to) {
	if (b->copy != NULL && b->fed < b->data.len)
		feed_all(b, to);
}

/* -- what is committed beside the lines ----------------------------------------------------------- */

struct sending {
	struct batch *b;
	struct batch_target *to;
	bool counts; /* the tally is sent, the triggers are off */
	bool done;   /* an earlier attempt was committed: see ask() */
};

static int ledger_params(const struct sending *s, char numbers[2][24], struct db_param *params) {
	snprintf(numbers[0], sizeof(numbers[0]), "%lld", (long long)s->to->off + 1);
	snprintf(numbers[1], sizeof(numbers[1]), "%lld", (long long)s->to->off);
	params[0] = db_text(s->to->stream);
	params[1] = db_text(numbers[0]);
	params[2] = db_text(numbers[1]);
	return STREAM_LEDGER_PARAMS;
}

static int move_ledger(struct db_conn *conn, const struct sending *s, struct db_error *err) {
	struct db_param params[STREAM_LEDGER_PARAMS];
	AUTO_RESULT PGresult *res = NULL;
	char numbers[2][24];
	int n = ledger_params(s, numbers, params);
	int rc = db_query_on(conn, stream_move_sql, params, n, &res, err);
	if (rc == 0 && strcmp(PQcmdTuples(res), "1") != 0)
		rc = db_error_set(err, EIO, "the stream's ledger was moved by somebody else");
	return rc;
}

static int count_lines(struct db_conn *conn, const struct sending *s, struct db_error *err) {
	struct db_param params[TALLY_PARAMS];
	struct tally_texts texts;
	int rc = tally_params(&s->b->tally, &texts, params)
			 ? db_query_on(conn, tally_sql, params, TALLY_PARAMS, NULL, err)
			 : db_error_set(err, ENOMEM, "out of memory");
	tally_texts_free(&texts);
	return rc;
}

/* The owner's part or the ledger, and the counts: the last part of a batch's transaction, so that rows which others may wait for are held
 * shortly. */
static int finish(struct db_conn *conn, void *arg, struct db_error *err) {
	struct sending *s = arg;
	struct batch_owner *owner = s->to->owner;
	int rc = 0;
	if (owner != NULL)
		rc = owner->finish(conn, owner, err);
	else if (s->to->ledger)
		rc = move_ledger(conn, s, err);
	if (rc == 0 && s->counts && s->b->tally.n > 0)
		rc = count_lines(conn, s, err);
	return rc;
}

/* -- few lines: one statement ----------------------------------------------------------------------- */

static bool put_arrays(const struct batch *b, struct buf *arrays, int ncolumns) {
	const char *at = b->data.data;
	bool ok = true;
	for (int i = 0; ok && i < b->n; i++) {
		AUTO_CSV struct csv_record record = { 0 };
		AUTO_BUF struct buf why = { 0 };
		ok = csv_split(at, b->lines[i].len - 1, &record, &why) == 0 && record.n == ncolumns;
		for (int c = 0; ok && c < ncolumns; c++) {
			const struct csv_field *field = &record.fields[c];
			bool null = field->len == 0 && !field->quoted;
			array_add(&arrays[c], null ? NULL : csv_text(&record, c), field->len);
		}
		at += b->lines[i].len;
	}
	for (int c = 0; c < ncolumns; c++) {
		array_end(&arrays[c]);
		ok = ok && !arrays[c].failed;
	}
	return ok;
}

static int run_small(struct sending *s, struct buf *arrays, struct db_error *err) {
	int n = 0, ncolumns = s->to->ncolumns;
	size_t most = STREAM_LEDGER_PARAMS + TALLY_PARAMS + (size_t)ncolumns;
	AUTO_FREE struct db_param *params = calloc(most, sizeof(*params));
	AUTO_RESULT PGresult *res = NULL;
	struct tally_texts texts = { 0 };
	char numbers[2][24];
	bool ok = params != NULL;
	struct db_statement *st = &s->to->sql->insert_bare;
	if (ok && s->to->ledger) {
		st = s->counts ? &s->to->sql->insert_counted : &s->to->sql->insert;
		n = ledger_params(s, numbers, params);
		ok = !s->counts || tally_params(&s->b->tally, &texts, params + n);
		n += s->counts ? TALLY_PARAMS : 0;
	}
	for (int c = 0; ok && c < ncolumns; c++)
		params[n++] = (struct db_param){ .data = arrays[c].data, .len = arrays[c].len };
	int rc = ok ? db_query(s->to->fs->pool, st, params, n, 0, NULL, &res, err)
		    : db_error_set(err, ENOMEM, "out of memory");
	tally_texts_free(&texts);
	if (rc == 0 && strtol(PQcmdTuples(res), NULL, 10) != s->b->n) {
		err->retryable = true; /* asks the ledger what became of it */
		rc = db_error_set(err, EIO, "the stream's ledger was moved by somebody else");
	}
	return rc;
}

static int send_small(struct sending *s, struct db_error *err) {
	int ncolumns = s->to->ncolumns;
	AUTO_FREE struct buf *arrays = calloc((size_t)ncolumns, sizeof(*arrays));
	int rc = arrays != NULL && put_arrays(s->b, arrays, ncolumns)
			 ? run_small(s, arrays, err)
			 : db_error_set(err, ENOMEM, "out of memory");
	for (int c = 0; arrays != NULL && c < ncolumns; c++)
		buf_free(&arrays[c]);
	return rc;
}

/* -- again, around what the server refuses ------------------------------------------------------------- */

static bool is_input_error(const struct db_error *err) {
	return !err->retryable && !err->in_doubt && err->sqlstate[0] != '\0' &&
	       (strncmp(err->sqlstate, "22", 2) == 0 || strncmp(err->sqlstate, "23", 2) == 0 ||
		strncmp(err->sqlstate, "P0", 2) == 0 || strncmp(err->sqlstate, "44", 2) == 0 ||
		strncmp(err->sqlstate, "54", 2) == 0);
}

/* Keeps what is to be told of line INDEX, which begins at byte AT. */
static int refuse_line(const struct sending *s, int index, size_t at, const struct db_error *err) {
	struct batch_line *line = &s->b->lines[index];
	const char *why = err->sentence != NULL ? err->sentence : strerror(err->errnum);
	struct refusal one = { .number = line->number, .index = index, .errnum = err->errnum };
	memcpy(one.sqlstate, err->sqlstate, sizeof(one.sqlstate));
	line->refused = refusals_add(&s->b->refused, one, s->b->data.data + at + line->id_len,
				     line->len - line->id_len - 1, why);
	return line->refused ? 0 : -ENOMEM;
}

/* Tells the sources what was refused. */
static void tell(const struct sending *s) {
	for (int i = 0; i < s->b->refused.n; i++) {
		const struct refusal *one = &s->b->refused.all[i];
		struct source *source = s->b->lines[one->index].source;
		int none = 0;
		int rc = refusal_tell(one, s->to->fs, source->path);
		atomic_compare_exchange_strong(&source->refused, &none, rc);
	}
	refusals_clear(&s->b->refused);
}

static size_t offset_of(const struct batch *b, int line) {
	size_t at = 0;
	for (int i = 0; i < line; i++)
		at += b->lines[i].len;
	return at;
}

/* The line of LOW .. HIGH that the server means by line COPY_LINE of its input; -1 if it cannot be known. */
static int blamed_line(const struct batch *b, int low, int high, size_t at, long long copy_line) {
	long long number = 0;
	if (copy_line <= 0)
		return high - low == 1 ? low : -1;
	for (int i = low; i < high; i++) {
		const char *p = b->data.data + at, *end = p + b->lines[i].len;
		for (; (p = memchr(p, '\n', (size_t)(end - p))) != NULL; p++)
			number++;
		if (number >= copy_line)
			return i;
		at += b->lines[i].len;
	}
	return -1;
}

/* Lines LOW .. HIGH, which begin at byte AT. */
struct range {
	const struct sending *s;
	int low, high;
	size_t at;
};

static int send_range(struct db_conn *conn, void *arg, struct db_error *err) {
	const struct range *r = arg;
	const struct batch *b = r->s->b;
	struct batch_owner *owner = r->s->to->owner;
	size_t len = 0;
	if (owner != NULL && owner->send != NULL)
		return owner->send(conn, owner, b, r->low, r->high, r->at, err);
	for (int i = r->low; i < r->high; i++)
		len += b->lines[i].len;
	return db_copy_on(conn, r->s->to->copy, b->data.data + r->at, len, NULL, err);
}

/* Sends lines LOW .. HIGH, all or none. Returns 0; 1 if the server refused one of them, *BAD being it (-1: not known); -errno. */
static int send_some(struct db_conn *conn, const struct sending *s, int low, int high, int *bad,
		     struct db_error *err) {
	struct range r = { .s = s, .low = low, .high = high, .at = offset_of(s->b, low) };
	int rc = db_part_on(conn, send_range, &r, err);
	if (rc == 0 || !is_input_error(err))
		return rc;
	*bad = blamed_line(s->b, low, high, r.at, err->copy_line);
	return 1;
}

/* The end of the lines from LOW on that can go together: not more than MOST, of one group, none refused. */
static int end_of_range(const struct batch *b, int low, int most) {
	int high = low;
	while (high < b->n && high - low < most && !b->lines[high].refused &&
	       b->lines[high].group == b->lines[low].group)
		high++;
	return high;
}

/* Sends the lines around those that the server refuses. The next attempt is as long as what went well last, so that many bad
 * lines do not send all that is behind them again and again. */
static int send_around(struct db_conn *conn, struct sending *s, struct db_error *err) {
	struct batch *b = s->b;
	int low = 0, step = b->n;
	while (low < b->n) {
		int bad = -1, high = end_of_range(b, low, step);
		if (high == low) { /* refused */
			low++;
			continue;
		}
		int rc = send_some(conn, s, low, high, &bad, err);
		if (rc < 0)
			return rc;
		if (rc == 0) {
			low = high;
			step = step < b->n ? step * 2 : b->n;
			continue;
		}
		if (bad == low) {
			rc = refuse_line(s, low, offset_of(b, low), err);
			s->counts = false;
			low++;
			step = 16;
		} else {
			step = bad > low ? bad - low : (high - low) / 2;
		}
		if (rc < 0)
			return db_error_set(err, ENOMEM, "out of memory");
		db_error_clear(err);
	}
	return 0;
}

int batch_send(struct db_conn *conn, struct batch *b, struct batch_target *to,
	       struct db_error *err) {
	struct sending s = { .b = b, .to = to };
	return send_around(conn, &s, err);
}

/* Was it committed before? The answer waits for a commit that is still under way. */
static int ask_ledger(struct db_conn *conn, struct sending *s, struct db_error *err) {
	AUTO_RESULT PGresult *res = NULL;
	struct db_param param = db_text(s->to->stream);
	int rc = db_query_on(conn, stream_ask_sql, &param, 1, &res, err);
	if (rc == 0 && PQntuples(res) != 1)
		rc = db_error_set(err, EIO, "the stream's row in rowfs.stream is gone");
	if (rc == 0)
		s->done = strtoll(PQgetvalue(res, 0, 0), NULL, 10) > s->to->off;
	return rc;
}

static int ask(struct db_conn *conn, struct sending *s, struct db_error *err) {
	struct batch_owner *owner = s->to->owner;
	if (owner == NULL)
		return s->to->ledger ? ask_ledger(conn, s, err) : 0;
	int rc = owner->ask(conn, owner, err);
	s->done = rc == 1;
	return rc == 1 ? 0 : rc;
}

static int send_again(struct db_conn *conn, void *arg, struct db_error *err) {
	struct sending *s = arg;
	int rc = ask(conn, s, err);
	if (rc != 0 || s->done)
		return rc;
	s->counts = false; /* some may be refused: the triggers count what stays */
	if (s->b->n > 0)
		rc = db_check_constraints_on(conn, err);
	if (rc == 0)
		rc = send_around(conn, s, err);
	return rc == 0 ? finish(conn, s, err) : rc;
}

/* -- committing ---------------------------------------------------------------------------------------- */

/* A repetition finds out what became of the attempt before. */
static bool is_repeatable(const struct batch_target *to) {
	return to->ledger || to->owner != NULL;
}

static int send_whole(struct sending *s, struct db_error *err) {
	db_copy_in_abort(take_copy(s->b)); /* its rows would be waited for */
	unsigned flags = is_repeatable(s->to) ? DB_REPEATABLE : 0;
	return db_transaction(s->to->fs->pool, send_again, s, flags, NULL, err);
}

static int send_first(struct sending *s, struct db_error *err) {
	struct batch *b = s->b;
	const struct batch_owner *owner = s->to->owner;
	if (b->copy == NULL && b->n <= SMALL && owner == NULL)
		return send_small(s, err);
	if (b->n == 0 || b->feed_failed || (owner != NULL && owner->send != NULL))
		return send_whole(s, err);
	if (b->fed < b->data.len || b->copy == NULL)
		feed_all(b, s->to);
	if (b->feed_failed) {
		err->retryable = true;
		return -EIO;
	}
	b->feed_failed = true; /* from here on the batch can only be sent anew */
	return db_copy_in_finish(take_copy(b), finish, s, NULL, err);
}

/* Once as it comes; if that fails for a reason that another attempt can mend, again around what is refused. */
static int send_all(struct sending *s, struct db_error *err) {
	int rc = send_first(s, err);
	bool doubt = err->in_doubt && !is_repeatable(s->to);
	bool mendable = err->retryable || err->in_doubt || is_input_error(err);
	if (rc == 0 || doubt || !mendable)
		return rc;
	db_error_clear(err);
	return send_whole(s, err);
}

/* Given up: what was not committed is kept. */
static void refuse_all(struct sending *s, const struct db_error *err) {
	size_t at = 0;
	for (int i = 0; i < s->b->n; i++) {
		if (!s->b->lines[i].refused && refuse_line(s, i, at, err) != 0)
			log_error("a line cannot be kept in rejected/: out of memory");
		at += s->b->lines[i].len;
	}
}

int batch_commit(struct batch *b, struct batch_target *to, struct db_error *err) {
	struct sending s = { .b = b, .to = to, .counts = can_count(b, to) };
	int rc = b->n > 0 || to->owner != NULL ? send_all(&s, err) : 0;
	if (rc == 0) {
		to->off += b->n > 0;
		atomic_fetch_add(&to->fs->count.rows_written, (unsigned)(b->n - b->refused.n));
		if (s.counts)
			coherence_appended(to->fs, &b->tally);
		fs_changed(to->fs);
	} else if (to->owner == NULL) {
		refuse_all(&s, err);
	}
	if (to->owner == NULL)
		tell(&s);
	return rc;
}
