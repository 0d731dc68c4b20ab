#include "fs/rows/rows_whole.h"

#include "fs/inodes/access.h"
#include "fs/rows/rows_replace.h"
#include "fs/rows/rows_write.h"
#include "fs/rows/rows_append.h"
#include "fs/rows/rows_lines.h"
#include "fs/rows/rows_read.h"
#include "fs/stream/refusals.h"
#include "db/field.h"
#include "db/query.h"
#include "schema/statements/sql.h"
#include "util/states.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum rows_event {
	ROWS_CUT_TO_NOTHING, /* O_TRUNC, ftruncate(0) */
	ROWS_LOADED,         /* a change in the middle begins: the file's text is here */
	ROWS_CHANGED,        /* a write, or a cut to another length */
	ROWS_COMMITTED,
	ROWS_REFUSED, /* by fsync, or by the close of a descriptor: the text is not committed */
	ROWS_DROPPED, /* it is in rejected/, and not here any more; or the file is closed */
	ROWS_EVENTS
};

static const char *const rows_states[ROWS_STATES] = { "lines", "emptied", "anew", "edited" };
static const char *const rows_events[ROWS_EVENTS] = { "cut-to-nothing", "loaded",  "changed",
						      "committed",      "refused", "dropped" };

/* A text that was written from nothing is gone when it was committed or refused. One that was
 * edited stays: if it was refused, more of the edit may come and make it good; if it was committed,
 * the program's offsets go on to mean its own text, while the rows may be shown in another
 * order. */
static const state_next rows_moves[ROWS_STATES][ROWS_EVENTS] = {
	[ROWS_LINES] = { [ROWS_CUT_TO_NOTHING] = STATE_TO(ROWS_EMPTIED),
			 [ROWS_LOADED] = STATE_TO(ROWS_EDITED),
			 [ROWS_DROPPED] = STATE_TO(ROWS_LINES) },
	[ROWS_EMPTIED] = { [ROWS_CUT_TO_NOTHING] = STATE_TO(ROWS_EMPTIED),
			   [ROWS_CHANGED] = STATE_TO(ROWS_ANEW),
			   [ROWS_COMMITTED] = STATE_TO(ROWS_LINES),
			   [ROWS_REFUSED] = STATE_TO(ROWS_LINES),
			   [ROWS_DROPPED] = STATE_TO(ROWS_LINES) },
	[ROWS_ANEW] = { [ROWS_CUT_TO_NOTHING] = STATE_TO(ROWS_EMPTIED),
			[ROWS_CHANGED] = STATE_TO(ROWS_ANEW),
			[ROWS_COMMITTED] = STATE_TO(ROWS_LINES),
			[ROWS_REFUSED] = STATE_TO(ROWS_LINES),
			[ROWS_DROPPED] = STATE_TO(ROWS_LINES) },
	[ROWS_EDITED] = { [ROWS_CUT_TO_NOTHING] = STATE_TO(ROWS_EMPTIED),
			  [ROWS_CHANGED] = STATE_TO(ROWS_EDITED),
			  [ROWS_COMMITTED] = STATE_TO(ROWS_EDITED),
			  [ROWS_REFUSED] = STATE_TO(ROWS_EDITED),
			  [ROWS_DROPPED] = STATE_TO(ROWS_LINES) },
};

static struct state_table rows_table = STATE_TABLE("rows", rows_states, rows_events, rows_moves);

/* Open files that have an anew_of: without one, a write costs no look at other handles. */
static atomic_int anew;

static void note_anew(struct handle *h) {
	struct rows_file *f = rows_of(h);
	const struct relation *table = NULL;
	if (rows_is_anew(h) && f->since == NULL)
		table = h->node->place->scope.tables[h->node->place->target].rel;
	const struct relation *was = atomic_exchange(&f->anew_of, table);
	atomic_fetch_add(&anew, (table != NULL) - (was != NULL));
}

static void rows_move(struct handle *h, enum rows_event event) {
	struct rows_file *f = rows_of(h);
	f->rows = (enum rows_state)state_move(&rows_table, (int)f->rows, (int)event);
	/* what was written before another cut is cut, too */
	if (!rows_is_anew(h) || event == ROWS_CUT_TO_NOTHING)
		free(move_ptr(f->since));
	note_anew(h);
}

bool rows_whole_any(const struct handle *but) {
	return atomic_load(&anew) > (atomic_load(&rows_of(but)->anew_of) != NULL ? 1 : 0);
}

void rows_whole_free(struct handle *h) {
	struct rows_file *f = rows_of(h);
	rows_move(h, ROWS_DROPPED);
	buf_free(&f->was);
}

int rows_whole_meet(struct call *call, struct handle *h) {
	struct rows_file *f = rows_of(h);
	AUTO_RESULT PGresult *res = NULL;
	if (!rows_is_anew(h) || f->since != NULL)
		return 0;
	int rc = db_query_text(call->fs->pool, sql_snapshot, NULL, 0, DB_REPEATABLE,
			       call_cancel(call), &res, &call->err);
	if (rc == 0)
		rc = field_judge(res, ROWS_ONE, "t", &call->err);
	if (rc == 0 && !sql_is_snapshot(field_text(res, 0, 0)))
		rc = call_error(call, EIO,
				"the server has answered something else than a snapshot");
	if (rc == 0 && (f->since = strdup(field_text(res, 0, 0))) == NULL)
		rc = call_error(call, ENOMEM, "out of memory");
	note_anew(h);
	return rc;
}

static int too_large(struct call *call, const char *what) {
	return call_error(call, EFBIG, "%s larger than max_document (%llu bytes)", what,
			  (unsigned long long)call->fs->opt->max_document);
}

/* The text as the database has it now. */
static int read_text(struct call *call, struct handle *h, struct buf *text) {
	uint64_t most = h->most;
	struct stat st;
	node_stat(call->fs->nodes, h->node, &st);
	rows_read_anew(h);
	int rc = (uint64_t)st.st_size <= most ? rows_read(call, h, (size_t)most + 1, 0, text) : 0;
	rows_read_anew(h);
	if (rc == 0 && ((uint64_t)st.st_size > most || text->len > most))
		rc = too_large(
			call,
			"lines can be appended, but the file cannot be changed in its middle: it is");
	return rc == 0 && text->failed ? -ENOMEM : rc;
}

int rows_whole_load(struct call *call, struct handle *h) {
	struct rows_file *f = rows_of(h);
	AUTO_BUF struct buf text = { 0 }, was = { 0 };
	int rc = access_check(call, h->node->place, CHANGE_ANEW);
	if (rc == 0)
		rc = rows_commit_lines(call, h);
	if (rc == 0)
		rc = read_text(call, h, &text);
	if (rc != 0)
		return rc;
	buf_add(&was, text.data, text.len);
	buf_add(&text, f->data.data, f->data.len);
	if (text.failed || was.failed)
		return -ENOMEM;
	rc = handle_take(call, h, text.cap + was.cap);
	if (rc != 0)
		return rc;
	f->written_to = f->data.len > 0 ? text.len : 0;
	buf_free(&f->data);
	buf_free(&f->was);
	f->data = text;
	f->was = was;
	text = was = (struct buf){ 0 };
	rows_append_end(f);
	line_reader_restart(&f->lines);
	f->buffered_lines = 0;
	h->waiting_us = 0;
	rows_move(h, ROWS_LOADED);
	handle_resized(h, f->data.len);
	return 0;
}

int rows_whole_read(const struct handle *h, size_t size, uint64_t offset, struct buf *out) {
	const struct rows_file *f = rows_of(h);
	return buf_add_part(out, f->data.data, f->data.len, size, offset);
}

/* The write or truncation cannot be done: what there is must not be committed at close. */
static int give_up(struct call *call, struct handle *h, int rc) {
	struct rows_file *f = rows_of(h);
	f->refused = rc;
	f->dirty = true;
	return rc == -EFBIG ? too_large(call, "what replaces the rows would be") : rc;
}

int rows_whole_write(struct call *call, struct handle *h, const char *data, size_t size,
		     uint64_t offset) {
	struct rows_file *f = rows_of(h);
	if ((h->flags & O_APPEND) != 0)
		offset = f->data.len;
	if (offset + size > h->most)
		return give_up(call, h, -EFBIG);
	rows_move(h, ROWS_CHANGED);
	int rc = handle_room(call, h, &f->data, (size_t)offset + size);
	if (rc == 0 && offset + size > f->data.len)
		buf_resize(&f->data, (size_t)offset + size);
	if (rc != 0 || f->data.failed)
		return give_up(call, h, -ENOMEM);
	memcpy(f->data.data + offset, data, size);
	if (offset + size > f->written_to)
		f->written_to = offset + size;
	f->dirty = true;
	handle_resized(h, f->data.len);
	return 0;
}

int rows_whole_truncate(struct call *call, struct handle *h, uint64_t size) {
	struct rows_file *f = rows_of(h);
	if (size > h->most)
		return too_large(call, "the file would be");
	if (size > 0 && size == f->data.len && rows_is_whole(h))
		return 0;
	rows_move(h, size == 0 ? ROWS_CUT_TO_NOTHING : ROWS_CHANGED);
	int rc = handle_room(call, h, &f->data, (size_t)size);
	if (rc == 0)
		buf_resize(&f->data, (size_t)size);
	if (rc != 0 || f->data.failed)
		return give_up(call, h, -ENOMEM);
	if (f->written_to > size)
		f->written_to = 0; /* what ends the text now is a piece of something */
	if (size == 0)
		buf_free(&f->was);
	f->dirty = true;
	handle_resized(h, f->data.len);
	return 0;
}

/* A truncation has left a piece of a line: it must not become a row that nobody wrote. A line that
 * has only lost its newline is none. */
static bool ends_in_a_piece(const struct handle *h) {
	const struct rows_file *f = rows_of(h);
	size_t len = f->data.len, from = len;
	if (len == 0 || f->data.data[len - 1] == '\n' || f->written_to == len)
		return false;
	while (from > 0 && f->data.data[from - 1] != '\n')
		from--;
	bool same = f->was.len > len && f->was.data[len] == '\n' &&
		    memcmp(f->was.data + from, f->data.data + from, len - from) == 0 &&
		    (from == 0 || f->was.data[from - 1] == '\n');
	return !same;
}

/* The text that is committed, TAKEN bytes, is what the next edit changes. False if that cannot be
 * compared with it: the lines have a header of their own. */
static bool remember_committed(struct call *call, struct handle *h, const struct place *place,
			       size_t taken) {
	struct rows_file *f = rows_of(h);
	AUTO_BUF struct buf was = { 0 };
	if (!rows_columns_as_shown(&f->lines, place))
		return false;
	if (taken + 1 > f->was.cap && handle_take(call, h, taken + 1 - f->was.cap) != 0) {
		db_error_clear(&call->err);
		return false;
	}
	buf_add(&was, f->data.data, taken);
	if (was.failed)
		return false;
	buf_free(&f->was);
	f->was = was;
	was = (struct buf){ 0 };
	return true;
}

int rows_whole_commit(struct call *call, struct handle *h, const struct where *w,
		      enum record_more more, bool last) {
	struct rows_file *f = rows_of(h);
	size_t taken = 0;
	int rc;
	if (ends_in_a_piece(h))
		rc = refuse_input(
			call->fs->stream, w->path, 0, f->data.data, f->data.len,
			call_error(
				call, EINVAL,
				"the file was cut in the middle of its last line: cut it behind the end of a line, "
				"or write the line's rest; nothing is changed"),
			&call->err);
	else
		rc = rows_replace(call, f, w, NULL, more == RECORD_END, &taken);
	if (rc == 0 && rows_open_line(f) > 0)
		return 0;
	rows_move(h, rc == 0 ? ROWS_COMMITTED : last ? ROWS_DROPPED : ROWS_REFUSED);
	f->dirty = rc == 0 && taken < f->data.len;
	if (!rows_is_whole(h) || (rc == 0 && !remember_committed(call, h, w->place, taken)))
		rows_whole_end(h, rc == 0 ? taken : f->data.len);
	return rc;
}

void rows_whole_end(struct handle *h, size_t taken) {
	struct rows_file *f = rows_of(h);
	rows_move(h, ROWS_DROPPED);
	/* a program that goes on does so behind what it has */
	if (!f->has_begun || (h->flags & O_APPEND) == 0)
		f->next_offset = f->data.len;
	f->has_begun = true;
	buf_consume(&f->data, taken);
	buf_free(&f->was);
	f->written_to = 0;
	f->dirty = f->data.len > 0;
	rows_read_anew(h);
	atomic_store(&h->size, HANDLE_NO_SIZE);
}
