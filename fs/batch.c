#include "fs/coherence.h"
#include "fs/batch.h"

#include "fs/report.h"
#include "schema/array.h"
#include "schema/csv.h"
#include "util/clock.h"

#include <errno.h>
#include <string.h>

enum {
	SMALL = 32
}; /* lines that go as one prepared statement; a COPY costs more up to about there */

struct batch *batch_new(uint64_t number) {
	struct batch *b = calloc(1, sizeof(*b));
	if (b == NULL)
		return NULL;
	b->number = number;
	b->counted = true;
	return b;
}

void batch_free(struct batch *b) {
	if (b == NULL)
		return;
	db_copy_in_abort(b->copy);
	buf_free(&b->data);
	tally_free(&b->tally);
	free(b->lines);
	free(b->units);
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

static bool add_unit(struct batch *b, struct source *source, const struct unit *unit) {
	if (unit->attachment == NULL)
		return true;
	struct batch_unit *units = reallocarray(b->units, (size_t)b->nunits + 1, sizeof(*units));
	if (units == NULL)
		return false;
	b->units = units;
	units[b->nunits++] = (struct batch_unit){
		.attachment = unit->attachment,
		.source = source,
		.first = b->n,
		.n = unit->n,
	};
	return true;
}

int batch_put(struct batch *b, struct source *source, const struct unit *unit) {
	buf_reserve(&b->data, b->data.len + unit->len + 1);
	if (b->data.failed || !make_room(b, unit->n) || !add_unit(b, source, unit))
		return -ENOMEM;
	if (b->began_us == 0)
		b->began_us = clock_us();
	buf_add(&b->data, unit->data, unit->len);
	for (int i = 0; i < unit->n; i++)
		b->lines[b->n++] = (struct batch_line){
			.len = unit->lines[i].len,
			.id_len = unit->lines[i].id_len,
			.number = unit->lines[i].number,
			.source = source,
		};
	if (unit->n > 0 && (unit->tally == NULL || !tally_add(&b->tally, unit->tally)))
		b->counted = false;
	return 0;
}

void batch_feed(struct batch *b, const struct batch_target *to) {
	AUTO_DB_ERROR struct db_error err = { 0 };
	bool counts = b->counted && to->ledger;
	if (b->feed_failed)
		return;
	if (b->copy == NULL && db_copy_in_begin(to->fs->pool, counts ? stream_no_triggers : NULL,
						to->sql->copy, &b->copy, &err) != 0)
		b->feed_failed = true;
	else if (db_copy_in_put(b->copy, b->data.data + b->fed, b->data.len - b->fed, &err) != 0)
		b->feed_failed = true;
	b->fed = b->data.len;
	if (b->feed_failed) {
		/* whatever it was, the batch is sent anew when it is committed, and is judged then */
		db_copy_in_abort(b->copy);
		b->copy = NULL;
	}
}

/* -- what is committed beside the lines ----------------------------------------------------------- */

struct sending {
	struct batch *b;
	struct batch_target *to;
	bool counts;            /* the tally is sent, the triggers are off */
	bool done_before;       /* the ledger says that an earlier attempt was committed */
	struct batch_unit *bad; /* the attachment that failed */
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

/* Attachments, ledger, counts: the last part of a batch's transaction, so that rows which others may wait for are held shortly. */
static int finish(struct db_conn *conn, void *arg, struct db_error *err) {
	struct sending *s = arg;
	int rc = 0;
	for (int i = 0; rc == 0 && i < s->b->nunits; i++) {
		struct attachment *a = s->b->units[i].attachment;
		if (a == NULL)
			continue;
		rc = a->finish(conn, a, err);
		if (rc != 0)
			s->bad = &s->b->units[i];
	}
	if (rc == 0 && s->to->ledger)
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

static int command(struct db_conn *conn, const char *sql, struct db_error *err) {
	return db_query_on(conn, sql, NULL, 0, NULL, err);
}

static void reject_line(const struct sending *s, int index, size_t at, const struct db_error *err) {
	struct batch_line *line = &s->b->lines[index];
	struct report *report = s->to->fs->report;
	const char *sentence = err->sentence != NULL ? err->sentence : strerror(err->errnum);
	AUTO_FREE char *name = report_reject(report, line->source->path, line->number,
					     s->b->data.data + at + line->id_len,
					     line->len - line->id_len - 1, sentence);
	report_error(report, line->source->path, err->errnum, err->sqlstate, sentence, name);
	atomic_fetch_add(&s->to->fs->count.lines_rejected, 1);
	int none = 0;
	atomic_compare_exchange_strong(&line->source->refused, &none, -err->errnum);
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

/* Copies lines LOW .. HIGH, all or none. Returns 0; 1 if the server refused one of them, *BAD being it (-1: not known); -errno. */
static int copy_some(struct db_conn *conn, struct sending *s, int low, int high, int *bad,
		     struct db_error *err) {
	AUTO_DB_ERROR struct db_error ignored = { 0 };
	size_t at = offset_of(s->b, low), end = at;
	for (int i = low; i < high; i++)
		end += s->b->lines[i].len;
	int rc = command(conn, "SAVEPOINT part", err);
	if (rc == 0)
		rc = db_copy_on(conn, s->to->sql->copy, s->b->data.data + at, end - at, NULL, err);
	if (rc == 0)
		return command(conn, "RELEASE part", err);
	if (!is_input_error(err))
		return rc;
	*bad = blamed_line(s->b, low, high, at, err->copy_line);
	rc = command(conn, "ROLLBACK TO part", &ignored);
	return rc == 0 ? 1 : rc;
}

/* Copies the lines around those that the server refuses. The next attempt is as long as what went well last, so that many bad
 * lines do not send all that is behind them again and again. */
static int copy_around(struct db_conn *conn, struct sending *s, struct db_error *err) {
	struct batch *b = s->b;
	int low = 0, step = b->n;
	while (low < b->n) {
		int bad = -1, high = b->n - low < step ? b->n : low + step;
		if (b->lines[low].refused) {
			low++;
			continue;
		}
		for (int i = low; i < high; i++)
			if (b->lines[i].refused)
				high = i;
		int rc = copy_some(conn, s, low, high, &bad, err);
		if (rc < 0)
			return rc;
		if (rc == 0) {
			low = high;
			step = step < b->n ? step * 2 : b->n;
			continue;
		}
		if (bad == low) {
			reject_line(s, low, offset_of(b, low), err);
			b->lines[low].refused = true;
			s->counts = false;
			low++;
			step = 16;
		} else {
			step = bad > low ? bad - low : (high - low) / 2;
		}
		db_error_clear(err);
	}
	return 0;
}

/* Was it committed before? The answer waits for a commit that is still under way. */
static int ask_ledger(struct db_conn *conn, struct sending *s, struct db_error *err) {
	AUTO_RESULT PGresult *res = NULL;
	struct db_param param = db_text(s->to->stream);
	int rc = db_query_on(conn, stream_ask_sql, &param, 1, &res, err);
	if (rc == 0 && PQntuples(res) != 1)
		rc = db_error_set(err, EIO, "the stream's row in rowfs.stream is gone");
	if (rc == 0)
		s->done_before = strtoll(PQgetvalue(res, 0, 0), NULL, 10) > s->to->off;
	return rc;
}

static int send_again(struct db_conn *conn, void *arg, struct db_error *err) {
	struct sending *s = arg;
	int rc = s->to->ledger ? ask_ledger(conn, s, err) : 0;
	if (rc != 0 || s->done_before)
		return rc;
	s->counts = false; /* some may be refused: the triggers count what stays */
	if (rc == 0)
		rc = command(conn, "SET CONSTRAINTS ALL IMMEDIATE", err);
	if (rc == 0 && s->b->n > 0)
		rc = copy_around(conn, s, err);
	return rc == 0 ? finish(conn, s, err) : rc;
}

/* -- committing ---------------------------------------------------------------------------------------- */

static int send_first(struct sending *s, struct db_error *err) {
	struct batch *b = s->b;
	if (b->copy == NULL && b->n <= SMALL && b->nunits == 0)
		return send_small(s, err);
	if (b->n == 0 || b->feed_failed)
		return db_transaction(s->to->fs->pool, send_again, s,
				      s->to->ledger ? DB_REPEATABLE : 0, NULL, err);
	if (b->fed < b->data.len || b->copy == NULL)
		batch_feed(b, s->to);
	if (b->feed_failed) {
		err->retryable = true;
		return -EIO;
	}
	return db_copy_in_finish(move_ptr(b->copy), finish, s, NULL, err);
}

/* Takes the unit whose attachment failed out of the batch; its owner is told. */
static void drop_unit(struct sending *s, int rc, const struct db_error *err) {
	struct batch_unit *unit = s->bad;
	s->bad = NULL;
	unit->attachment->settled(unit->attachment, rc, err);
	unit->attachment = NULL;
	for (int i = unit->first; i < unit->first + unit->n; i++)
		s->b->lines[i].refused = true;
}

/* Once as it comes; if that fails for a reason that another attempt can mend, again around what is refused. */
static int send_all(struct sending *s, struct db_error *err) {
	unsigned flags = s->to->ledger ? DB_REPEATABLE : 0;
	bool again = false;
	int rc = send_first(s, err);
	while (rc != 0) {
		bool doubt = err->in_doubt && !s->to->ledger;
		bool mendable = err->retryable || err->in_doubt || is_input_error(err);
		if (s->bad != NULL)
			drop_unit(s, rc, err);
		else if (again || doubt || !mendable)
			return rc;
		else
			again = true;
		db_error_clear(err);
		rc = db_transaction(s->to->fs->pool, send_again, s, flags, NULL, err);
	}
	return 0;
}

/* Given up: what was not committed is kept. */
static void reject_all(struct sending *s, const struct db_error *err) {
	size_t at = 0;
	for (int i = 0; i < s->b->n; i++) {
		if (!s->b->lines[i].refused)
			reject_line(s, i, at, err);
		at += s->b->lines[i].len;
	}
}

int batch_commit(struct batch *b, struct batch_target *to, struct db_error *err) {
	struct sending s = { .b = b, .to = to, .counts = b->counted && to->ledger };
	int rc = b->n > 0 || b->nunits > 0 ? send_all(&s, err) : 0;
	if (rc == 0) {
		to->off += b->n > 0 || b->nunits > 0;
		atomic_fetch_add(&to->fs->count.rows_written, (unsigned)b->n);
		if (s.counts)
			coherence_appended(to->fs, &b->tally);
		fs_changed(to->fs);
	} else {
		reject_all(&s, err);
	}
	for (int i = 0; i < b->nunits; i++) {
		struct attachment *a = b->units[i].attachment;
		if (a != NULL)
			a->settled(a, rc, err);
	}
	return rc;
}
