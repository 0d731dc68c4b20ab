/* Rows files: a slice of a table as lines. What open, write, truncate and close of one mean; see
 * rows_read.c for reading. */
#include "fs/inodes/access.h"
#include "fs/cache/coherence.h"
#include "fs/rows/rows.h"

#include "fs/names/lookup.h"
#include "fs/names/made.h"
#include "fs/bytes/plain.h"
#include "fs/rows/rows_read.h"
#include "fs/rows/rows_reader.h"
#include "fs/rows/rows_append.h"
#include "fs/rows/rows_lines.h"
#include "fs/rows/rows_replace.h"
#include "fs/rows/rows_rotate.h"
#include "fs/rows/rows_write.h"
#include "fs/rows/rows_cut.h"
#include "fs/rows/rows_state.h"
#include "fs/rows/rows_whole.h"
#include "fs/names/statement.h"
#include "fs/stream/refusals.h"
#include "fs/rows/transcript.h"
#include "schema/layout/line_columns.h"
#include "util/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

static uint64_t header_length(const struct handle *h) {
	const char *header = h->node->place->sql.header;
	return header != NULL ? strlen(header) : 0;
}

/* The text of a file that is made under a key that any name is a value of: see made.h. Other
 * temporary names are plain files. */
static void begin_text(struct call *call, struct handle *h) {
	struct rows_file *f = rows_of(h);
	const struct place *place = h->node->place;
	bool any_name = false;
	for (int i = 0; i < place->nkeys; i++)
		any_name = any_name || (place->keys[i].format == NULL &&
					field_rule_of(place->keys[i].column).kind == FIELD_TEXT);
	if (!any_name || !(h->created || h->node->pending))
		return;
	AUTO_FREE char *path = node_path(call->fs->nodes, h->node, NULL);
	f->fresh = path != NULL && made_begin(call->fs->made, call_thread(call), path);
}

/* What is written to H is a part of a text that is kept, or makes it another one. */
static void note_text(struct call *call, struct handle *h, const char *data, size_t size) {
	struct rows_file *f = rows_of(h);
	struct made *made = call->fs->made;
	if (!f->fresh && !made_any(made))
		return;
	AUTO_FREE char *path = node_path(call->fs->nodes, h->node, NULL);
	if (f->fresh && !rows_is_whole(h))
		f->fresh = path != NULL && made_add(made, path, data, size);
	else
		f->fresh = false;
	if (!f->fresh && path != NULL)
		made_forget(made, path);
}

static int rows_open(struct call *call, struct handle *h) {
	struct rows_file *f = rows_of(h);
	bool writes = (h->flags & O_ACCMODE) != O_RDONLY;
	rows_lines_begin(f, h->node->place, call->fs);
	if (writes)
		begin_text(call, h);
	if (!writes)
		f->transcript = transcript_find(call->fs, h->node);
	struct stat st;
	/* a program that goes back from the end goes by the size that it is told now, so OPENED_AT
	 * must not be an older one; and one that reads goes by what fstat says */
	bool asks = (writes && (h->flags & (O_APPEND | O_TRUNC)) == 0) ||
		    node_is_unsized(call->fs->nodes, h->node);
	if (asks && lookup_refresh(call, h->node, false) != 0)
		db_error_clear(&call->err);
	node_stat(call->fs->nodes, h->node, &st);
	f->opened_at = (uint64_t)st.st_size;
	f->opened_empty = h->created || f->opened_at <= header_length(h);
	if (!writes || (h->flags & O_TRUNC) == 0)
		return 0;
	/* a file without lines has no name (4.4), but may have a writer */
	if (!rows_cut_settle(call, h->node) && h->created)
		return 0;
	int rc = lookup_refresh(call, h->node, true);
	if (rc != 0)
		return rc;
	node_stat(call->fs->nodes, h->node, &st);
	bool empty = (uint64_t)st.st_size <= header_length(h);
	rc = empty ? 0 : access_check(call, h->node->place, CHANGE_ANEW);
	if (rc != 0)
		return rc;
	rows_cut_rest(call, h->node, true);
	f->opened_empty = empty;
	if (empty)
		return 0; /* nothing to replace: the lines are simply appended */
	return rows_whole_truncate(call, h, 0);
}

/* True if a write at OFFSET appends: where the file ends, or ended when H was opened or wrote last.
 * Others may have appended since, which must not be written over. */
static bool is_append(struct call *call, const struct handle *h, uint64_t offset) {
	const struct rows_file *f = rows_of(h);
	struct stat st;
	if ((h->flags & O_APPEND) != 0 || (f->has_begun && offset == f->next_offset))
		return true;
	if (!f->has_begun && lookup_refresh(call, h->node, false) != 0)
		db_error_clear(&call->err);
	node_stat(call->fs->nodes, h->node, &st);
	if (offset == (uint64_t)st.st_size)
		return true;
	bool empty = f->opened_empty || (uint64_t)st.st_size <= header_length(h);
	return !f->has_begun && (offset == f->opened_at || (empty && offset == 0));
}

/* A write at OFFSET, which is in the middle of the file. */
static int begin_to_edit(struct call *call, struct handle *h, uint64_t offset) {
	struct rows_file *f = rows_of(h);
	struct stat st;
	int rc = lookup_refresh(call, h->node, true);
	if (rc != 0)
		return rc;
	node_stat(call->fs->nodes, h->node, &st);
	if (offset > (uint64_t)st.st_size && offset > f->next_offset)
		return call_error(
			call, EINVAL,
			"the write begins behind the end of the file: between them would be NUL bytes, which no line has");
	return rows_whole_load(call, h);
}

static void settle(struct call *call, struct handle *h, bool unsettled) {
	if (h->unsettled == unsettled)
		return;
	h->unsettled = unsettled;
	node_unsettle(call->fs->nodes, h->node, unsettled);
}

static uint64_t count_newlines(const char *data, size_t size) {
	uint64_t n = 0;
	const char *end = data + size;
	while ((data = memchr(data, '\n', (size_t)(end - data))) != NULL) {
		n++;
		data++;
	}
	return n;
}

static int rows_write(struct call *call, struct handle *h, const char *data, size_t size,
		      uint64_t offset) {
	struct rows_file *f = rows_of(h);
	int rc = 0;
	if (h->given)
		return call_error(call, ESTALE, HANDLE_GIVEN);
	if (f->refused != 0)
		return call_error(call, -f->refused, "an earlier write to this file was refused");
	bool edits = !rows_is_whole(h) && !is_append(call, h, offset);
	if (edits)
		rc = begin_to_edit(call, h, offset);
	if (rc != 0)
		return rc;
	note_text(call, h, data, size);
	if (rows_is_whole(h)) {
		settle(call, h, false);
		rc = rows_whole_write(call, h, data, size, offset);
		if (rc == 0 && (h->flags & O_APPEND) != 0) {
			/* the kernel has appended behind what others have written, too: there
			 * its program stands */
			f->has_begun = true;
			f->next_offset = offset + size;
		}
		bool at_end = (h->flags & O_APPEND) != 0 || offset + size >= f->data.len;
		if (rc == 0 && size > 0 && at_end)
			author_wrote(&f->author, call_thread(call), data[size - 1] != '\n');
		return rc;
	}
	bool streams = rows_append_fits(h->node->place);
	if (!f->has_begun || (h->flags & O_APPEND) != 0)
		f->next_offset = offset;
	f->has_begun = true;
	f->next_offset += size;
	rc = handle_room(call, h, &f->data, f->data.len + size);
	if (rc == 0 && !streams)
		buf_add(&f->data, data, size);
	f->dirty = true;
	if (rc != 0 || f->data.failed) {
		f->next_offset -= size;
		return f->refused = -ENOMEM;
	}
	settle(call, h, false);
	f->buffered_lines += count_newlines(data, size);
	int taken = streams ? rows_append_write(call, h, data, size) : 0;
	author_wrote(&f->author, call_thread(call),
		     size > 0 && (data[size - 1] != '\n' || (streams && f->data.len > 0)));
	if (streams) {
		/* the bytes are taken: what goes wrong with them is told at fsync or close, after
		 * another attempt */
		if (taken != 0)
			db_error_clear(&call->err);
		return 0;
	}
	if (h->waiting_us == 0)
		h->waiting_us = clock_us();
	if (f->buffered_lines < (uint64_t)call->fs->opt->batch_size &&
	    f->data.len <= call->fs->opt->max_document)
		return 0;
	/* A refused line among them is told at the next fsync or close: the bytes of this write
	 * were taken. */
	f->buffered_lines = 0;
	AUTO_WHERE struct where w = { 0 };
	rc = node_where(call->fs->nodes, h->node, &w);
	if (rc == 0)
		rc = rows_commit(call, h, &w, RECORD_MORE);
	if (rc != 0 && f->deferred == 0)
		f->deferred = rc;
	return 0;
}

/* After a write that was refused: what replaces the rows is dropped whole; of what is appended, the
 * whole lines are committed, as they were taken, and the rest is not. It is kept in rejected/. */
static int give_up(struct call *call, struct handle *h, const struct where *w) {
	struct rows_file *f = rows_of(h);
	int rc = f->refused;
	if (!rows_is_whole(h) && rows_settle_lines(call, h) != 0)
		db_error_clear(&call->err);
	(void)call_error(
		call, -rc,
		"a write was refused before: what follows the last whole line is not committed");
	refuse_input(call->fs->stream, w->path, 0, f->data.data, f->data.len, rc, &call->err);
	if (rows_is_whole(h))
		rows_whole_end(h, f->data.len);
	else
		rows_drop_rest(h); /* what is written next begins a line */
	f->dirty = false;
	buf_free(&f->data); /* there may be memory for it again */
	line_reader_restart(&f->lines);
	f->refused = 0;
	settle(call, h, false);
	return rc;
}

/* Takes what there is and waits until it is committed. */
static int sync_stream(struct call *call, struct handle *h, const struct where *w,
		       enum record_more more) {
	struct rows_file *f = rows_of(h);
	int rc = rows_append_take(call, h, more);
	if (rc != 0) { /* given up for good: what was not taken is kept */
		(void)rows_reject_lines(call, w, &f->data, f->lines.records.lines, rc);
		rows_drop_rest(h);
	}
	rows_append_commit(call, h);
	return rc;
}

/* What this fsync or close says: RC is what it came to itself. With bad_lines=report, lines that
 * were refused are told in errors.jsonl alone, whatever the errno; what was given up, or refused as
 * a whole, is always an error. */
static int told(struct call *call, struct handle *h, enum sync_reason reason, uint64_t open,
		int rc) {
	struct rows_file *f = rows_of(h);
	bool lenient = strcmp(call->fs->opt->bad_lines, "report") == 0;
	rc = rc != 0 ? rc : f->deferred;
	/* a close of a copy is perhaps not the writer's: his next fsync is told, too, that
	 * something was given up */
	f->deferred = reason == SYNC_FLUSH && !refuse_is_input_error(rc) ? rc : 0;
	bool lines_only = rc == 0 || refuse_is_input_error(rc);
	if (rc == 0 && !lenient)
		rc = f->bad_line;
	f->bad_line = 0;
	if (open > 0 && lines_only && reason != SYNC_UNLOCK)
		rc = call_error(
			call, rc != 0 ? -rc : EINVAL,
			"line %llu: a quoted field that began here is not closed yet: the lines from it on are committed when its closing quote "
			"is written, and go to rejected/ if the file is closed without it",
			(unsigned long long)open);
	return rc;
}

/* What is left of H's data is a piece of a record, and no row: its writer did not mean it to be
 * one. */
static void refuse_piece(struct call *call, struct handle *h, const struct where *w) {
	struct rows_file *f = rows_of(h);
	if (f->data.len == 0)
		return;
	(void)call_error(
		call, EINVAL, "the last line has no end: %s",
		f->author.state == AUTHOR_KILLED ? "the program that wrote it was ended by a signal"
		: f->author.state == AUTHOR_WRITES
			? "the mount ended while the program that wrote it had the file open"
			: "/proc does not tell how the program that wrote it ended (see the option last_line)");
	atomic_fetch_add(&call->fs->count.lines_rejected, rows_is_whole(h));
	refuse_input(call->fs->stream, w->path, rows_is_whole(h) ? 0 : f->lines.records.lines + 1,
		     f->data.data, f->data.len, -EINVAL, &call->err);
	if (f->bad_line == 0)
		f->bad_line = -EINVAL;
	if (rows_is_whole(h))
		rows_whole_end(h, f->data.len);
	rows_drop_rest(h);
	f->author.state = AUTHOR_NONE;
	f->dirty = false;
}

/* May what stands behind the last newline be a row, if nothing follows? */
static bool accepts_tail(const struct call *call, const struct handle *h) {
	const struct rows_file *f = rows_of(h);
	struct fs *fs = call->fs;
	bool unknown, accept = strcmp(fs->opt->last_line, "accept") == 0;
	bool ending = call->req == NULL; /* nobody has closed it */
	accept = author_accepts(&f->author, ending, accept, &unknown);
	if (unknown && f->data.len > 0)
		atomic_fetch_add(&fs->count.writers_unknown, 1);
	return accept;
}

static int rows_sync(struct call *call, struct handle *h, enum sync_reason reason) {
	struct rows_file *f = rows_of(h);
	AUTO_WHERE struct where w = { 0 };
	int rc = node_where(call->fs->nodes, h->node, &w);
	if (rc != 0)
		return rc;
	if (f->refused != 0)
		return give_up(call, h, &w);
	/* a copy of the descriptor is closed by another process: its writer may be in the middle of
	 * a record */
	bool own = reason != SYNC_FLUSH || author_flushes(&f->author, call_thread(call));
	bool killed = f->author.state == AUTHOR_KILLED;
	bool accepts = reason != SYNC_RELEASE || accepts_tail(call, h);
	bool tail = f->data.len > 0 && f->data.data[f->data.len - 1] != '\n';
	if (rows_is_whole(h) && tail && !accepts)
		refuse_piece(call, h, &w);
	bool closes = reason != SYNC_FSYNC && reason != SYNC_UNLOCK && own &&
		      !killed; /* its writer, of its own will */
	bool whole = tail && closes && accepts && rows_tail_is_whole(h, w.place);
	bool replaces = rows_is_whole(h);
	if (reason == SYNC_FLUSH && f->dirty &&
	    (f->rows == ROWS_EMPTIED || (replaces && tail && !whole))) {
		settle(call, h, true); /* see handle.h */
		return 0;
	}
	bool last = (reason == SYNC_RELEASE && accepts) || whole;
	enum record_more more = last ? RECORD_END : own ? RECORD_SYNC : RECORD_MORE;
	bool streams = !replaces && rows_append_fits(w.place);
	if (f->dirty && replaces) {
		rc = rows_whole_commit(call, h, &w, more, reason == SYNC_RELEASE);
	} else if (f->dirty) {
		rc = streams ? sync_stream(call, h, &w, more) : rows_commit(call, h, &w, more);
		f->dirty = f->data.len > 0;
		f->buffered_lines = 0;
	}
	if (!replaces && (!accepts || (killed && reason == SYNC_FLUSH)))
		refuse_piece(call, h, &w);
	rc = told(call, h, reason, rows_open_line(h), rc);
	settle(call, h, reason == SYNC_FLUSH && f->dirty);
	return rc;
}

static int rows_unlocking(struct call *call, struct handle *h) {
	struct rows_file *f = rows_of(h);
	/* what was emptied has its new lines in the program's buffer, as in a document */
	return f->dirty && f->rows != ROWS_EMPTIED ? rows_sync(call, h, SYNC_UNLOCK) : 0;
}

static int rows_remove(struct call *call, const struct where *w) {
	int changed;
	int rc = statement_run(call, (struct db_statement *)(uintptr_t)&w->place->sql.remove, w,
			       NULL, 0, DB_REPEATABLE, &changed);
	if (rc == -ENOENT && strcmp(call->err.sqlstate, "23503") == 0)
		return call_error(call, ENOTEMPTY,
				  "rows of another table refer to these rows: remove them first");
	if (rc == 0)
		plain_unmark_one(call->fs->plain, w->path);
	return rc;
}

static int rows_store(struct call *call, const struct where *w, const struct where *from,
		      const char *data, size_t len) {
	struct rows_file f = { .rows = ROWS_LINES };
	struct handle h = { .flags = O_WRONLY | O_TRUNC, .state = &f };
	buf_add(&f.data, data, len);
	size_t taken;
	int rc = f.data.failed ? -ENOMEM : rows_replace(call, &h, w, from, true, &taken);
	line_reader_forget(&f.lines);
	buf_free(&f.data);
	return rc;
}

static int read_any(struct call *call, struct handle *h, size_t size, uint64_t offset,
		    struct buf *out) {
	return rows_is_whole(h) ? rows_whole_read(h, size, offset, out)
				: rows_read(call, h, size, offset, out);
}

static void rows_close(struct fs *fs, struct handle *h) {
	struct rows_file *f = rows_of(h);
	(void)fs;
	rows_whole_free(h);
	rows_reader_free(f->reader);
	if (f->passing != NULL)
		transcript_pass_end(f->passing);
	transcript_release(f->transcript);
	transcript_release(f->writing);
	rows_append_end(f);
	line_reader_forget(&f->lines);
	buf_free(&f->data);
}

static const struct buf *rows_unsent(const struct handle *h) {
	const struct rows_file *f = rows_of(h);
	return f->dirty ? &f->data : NULL;
}

static uint64_t rows_held(struct handle *h) {
	struct rows_file *f = rows_of(h);
	return handle_fit(&f->data) + f->was.cap;
}

/* What may be committed now is seen by readers whom the kernel serves. */
static void rows_synced(struct fs *fs, struct handle *h) {
	transcripts_follow(fs, h->node);
}

/* The kernel would map the transcript for a reader: so a writer must not have one, and a reader
 * none but its own. Then ESTALE, and the name's next node has none. */
static int rows_pass(struct call *call, struct handle *h, struct passing *out) {
	struct rows_file *f = rows_of(h);
	struct nodes *nodes = call->fs->nodes;
	bool writes = (h->flags & O_ACCMODE) == O_RDWR;
	bool reads = (h->flags & O_ACCMODE) == O_RDONLY;
	/* the open has said of this thread that its retry is over; so another number stands for
	 * it */
	pid_t retry = -call_thread(call);
	struct transcript *passing = transcript_pass(
		call->fs, h->node, (h->flags & O_DIRECT) == 0 ? f->transcript : NULL, out);
	bool other = reads && passing != f->transcript;
	if (passing == NULL || (!writes && (!other || !node_may_retry(nodes, h->node, retry)))) {
		nodes_retry_over(nodes, retry);
		f->passing = passing;
		return passing != NULL;
	}
	transcript_pass_end(passing);
	node_expel(nodes, h->node);
	/* no notice will find the node any more: from now on the kernel asks for its size, which
	 * `tail -f` goes by */
	coherence_forget(call->fs, h->node);
	return -ESTALE;
}

const struct kind rows_kind = {
	.name = "rows",
	.writable = true,
	.own_size = true,
	.followed = true,
	.refresh = lookup_refresh_row,
	.state = &rows_state_type,
	.open = rows_open,
	.read = read_any,
	.before_write = rows_before_write,
	.write = rows_write,
	.before_truncate = rows_before_truncate,
	.truncate = rows_truncate,
	.sync = rows_sync,
	.close = rows_close,
	.held = rows_held,
	.unsent = rows_unsent,
	.unlocking = rows_unlocking,
	.synced = rows_synced,
	.pass = rows_pass,
	.lines = true,
	.appended = true,
	.name_stays = true,
	.to_replace = CHANGE_ANEW,
	.to_place = CHANGE_ANEW,
	.removal = REMOVAL_ROWS,
	.rotate = rows_rotate,
	.give = rows_give,
	.give_not = rows_give_not,
	.remove = rows_remove,
	.store = rows_store,
};
