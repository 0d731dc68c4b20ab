/* Writing a rows file anew, or what an edit has made of it: one transaction, all or nothing.
 * What is there is changed into what the file says, so that a row that stays keeps what the
 * file does not show, and what refers to it. Where lines show the key of the table, it says
 * which row a line is; elsewhere rows_pairs.h does. */
#include "fs/rows/rows_replace.h"

#include "fs/cache/coherence.h"
#include "fs/inodes/access.h"
#include "fs/bytes/plain.h"
#include "fs/names/statement.h"
#include "fs/stream/once.h"
#include "fs/rows/rows_keyed.h"
#include "fs/rows/rows_pairs.h"
#include "fs/stream/refusals.h"

#include <errno.h>
#include <string.h>

/* Bytes that the old lines, or one line, may have: the new text may be as long as the old one. */
static uint64_t text_bytes(const struct call *call, const struct buf *text) {
	uint64_t most = call->fs->opt->max_document;
	return text->len > most ? text->len : most;
}

/* One transaction: what is removed, and how the lines are brought to the rows. */
struct rows_tx {
	const struct where
		*from; /* another file with the same lines, whose rows go first; NULL: none */
	struct pairs *pairs;
	struct keyed *by_key; /* lines say which row they are; NULL: they are paired */
};

/* The rows of the file whose lines these are. If they are not as many, somebody else has changed
 * them. */
static int remove_from(struct db_conn *conn, const struct rows_tx *tx, struct db_error *err) {
	int changed = 0;
	int rc = keyed_still_referred(statement_remove_on(conn, tx->from, &changed, err), err);
	if (rc == 0 && changed != tx->pairs->text->nlines)
		rc = db_error_set(
			err, EXDEV,
			"the file has other rows than the program has written to it: copy it "
			"and remove it");
	return rc;
}

static int rows_in_tx(struct db_conn *conn, void *arg, struct db_error *err) {
	const struct rows_tx *tx = arg;
	int rc = tx->from != NULL ? remove_from(conn, tx, err) : 0;
	if (rc != 0)
		return rc;
	return tx->by_key != NULL ? keyed_run(conn, tx->by_key, err)
				  : pairs_run(conn, tx->pairs, err);
}

/* The lines that show their key, as an array; empty if there are none. */
static int put_keyed(const struct place *place, const struct rows_text *text, struct buf *keyed) {
	for (int i = 0; i < text->ngroups; i++) {
		if (!sql_has_key(place, &text->groups[i].shape))
			continue;
		if (keyed->len == 0)
			buf_putc(keyed, '[');
		group_put(keyed, &text->groups[i], 0, text->groups[i].n);
	}
	if (keyed->len > 0)
		buf_putc(keyed, ']');
	return keyed->failed ? -ENOMEM : 0;
}

/* TEXT replaces what is there, or, with WAS, what differs from that. */
static int replace(const struct input *in, const struct where *from, const struct rows_text *text,
		   const struct rows_text *was) {
	const struct place *place = in->w->place;
	struct call *call = in->call;
	AUTO_BUF struct buf keyed = { 0 };
	if (put_keyed(place, text, &keyed) != 0)
		return call_error(call, ENOMEM, "out of memory");
	struct pairs pairs = {
		.in = in,
		.text = text,
		.was = was,
		.keyed = keyed.len > 0 ? &keyed : NULL,
		.all = !pairs_can(place, was != NULL),
	};
	struct keyed by_key = { .in = in, .text = text };
	bool is_keyed = was == NULL && keyed.len > 0;
	struct rows_tx tx = { .from = from, .pairs = &pairs, .by_key = is_keyed ? &by_key : NULL };
	int rc;
	keyed_begin(&by_key);
	do {
		db_error_clear(&call->err);
		rc = once_run(call->fs->stream, 0, rows_in_tx, &tx, NULL, &call->err);
	} while (rc != 0 && is_keyed && keyed_other_way(&by_key, &call->err));
	coherence_changed(call->fs, &call->err);
	if (rc == 0)
		atomic_fetch_add(&call->fs->count.rows_written,
				 (unsigned)(is_keyed ? by_key.written : pairs.written));
	return rc;
}

/* WAS is the text that the file had before it was edited; it was read, or committed. */
static int replace_edited(const struct input *in, const struct where *from,
			  const struct rows_text *text, const struct buf *was) {
	size_t taken;
	struct line_reader lines = { 0 };
	struct input old = {
		.call = in->call, .lines = &lines, .w = in->w, .raw = was->data, .ids_later = true
	};
	AUTO_FREE struct rows_text *before = calloc(1, sizeof(*before));
	if (before == NULL)
		return call_error(in->call, ENOMEM, "out of memory");
	*before = (struct rows_text){ .in = &old, .most = GROUPS_MOST_LINES };
	line_reader_begin(&lines, in->w->place->format, text_bytes(in->call, was));
	int rc = lines_each(&old, was->len, RECORD_END, true, rows_text_add, before, &taken);
	if (rc == 0)
		rc = replace(in, from, text, before);
	rows_text_free(before);
	line_reader_forget(&lines);
	return rc;
}

int rows_replace(struct call *call, struct rows_file *f, const struct where *w,
		 const struct where *from, bool last, size_t *taken) {
	struct input in = { .call = call,
			    .lines = &f->lines,
			    .w = w,
			    .raw = f->data.data,
			    .most = text_bytes(call, &f->data),
			    .since = f->since,
			    .ids_later = true };
	AUTO_FREE struct rows_text *text = calloc(1, sizeof(*text));
	*taken = 0;
	line_reader_forget(&f->lines);
	rows_lines_begin(f, w->place, in.most);
	int rc = access_check(call, w->place, CHANGE_ANEW);
	if (rc == 0 && text == NULL) {
		(void)call_error(call, ENOMEM, "out of memory");
		rc = -ENOMEM;
	} else if (rc == 0) {
		text->in = &in;
		text->most = GROUPS_MOST_LINES;
		rc = lines_each(&in, f->data.len, last ? RECORD_END : RECORD_MORE, true,
				rows_text_add, text, taken);
	}
	bool waits = rc == 0 && rows_open_line(f) > 0;
	if (rc == 0 && !waits)
		rc = f->was.len > 0 && pairs_can(w->place, true)
			     ? replace_edited(&in, from, text, &f->was)
			     : replace(&in, from, text, NULL);
	if (rc != 0)
		statement_name_rules(&call->err, w->place);
	/* with FROM it is kept: by the rows of its own name */
	if (rc != 0 && from == NULL)
		refuse_input(call->fs->stream, w->path, 0, f->data.data, f->data.len, rc,
			     &call->err);
	if (rc != 0)
		line_reader_restart(&f->lines);
	else if (!waits)
		plain_unmark(call->fs->plain, w->path);
	if (text != NULL)
		rows_text_free(text);
	return rc;
}

/* -- for the kind ------------------------------------------------------------------------------ */

int rows_remove(struct call *call, const struct where *w) {
	int changed;
	int rc = statement_run(call, (struct db_statement *)(uintptr_t)&w->place->sql.remove, w,
			       NULL, 0, &changed);
	if (rc == -ENOENT && strcmp(call->err.sqlstate, "23503") == 0)
		return call_error(call, ENOTEMPTY,
				  "rows of another table refer to these rows: remove them first");
	if (rc == 0)
		(void)!plain_unlink(call->fs->plain, w->path);
	return rc;
}

int rows_store(struct call *call, const struct where *w, const struct where *from, const char *data,
	       size_t len) {
	struct rows_file f = { .rows = ROWS_LINES };
	buf_add(&f.data, data, len);
	size_t taken;
	int rc = f.data.failed ? -ENOMEM : rows_replace(call, &f, w, from, true, &taken);
	line_reader_forget(&f.lines);
	buf_free(&f.data);
	return rc;
}
