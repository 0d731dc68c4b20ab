/* fsync and close of a rows file: what was taken is committed, and what was refused is told. */
#include "fs/rows/rows_append.h"
#include "fs/rows/rows_kind.h"
#include "fs/rows/rows_lines.h"
#include "fs/rows/rows_whole.h"
#include "fs/rows/rows_write.h"
#include "fs/stream/refusals.h"

#include <errno.h>
#include <string.h>

/* After a write that was refused: what replaces the rows is dropped whole; of what is appended, the
 * whole lines are committed, as they were taken, and the rest is not. It is kept in rejected/. */
static int give_up(struct call *call, struct handle *h, const struct where *w) {
	struct rows_file *f = rows_of(h);
	int rc = f->refused;
	if (!rows_is_whole(h) && rows_commit_lines(call, h) != 0)
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
	handle_unsettle(call->fs, h, false);
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
	keep_first(&f->bad_line, -EINVAL);
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

int rows_sync(struct call *call, struct handle *h, enum sync_reason reason) {
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
		handle_unsettle(call->fs, h, true); /* see handle.h */
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
	rc = told(call, h, reason, rows_open_line(f), rc);
	handle_unsettle(call->fs, h, reason == SYNC_FLUSH && f->dirty);
	return rc;
}

int rows_unlocking(struct call *call, struct handle *h) {
	struct rows_file *f = rows_of(h);
	/* what was emptied has its new lines in the program's buffer, as in a document */
	return f->dirty && f->rows != ROWS_EMPTIED ? rows_sync(call, h, SYNC_UNLOCK) : 0;
}
