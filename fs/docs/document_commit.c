/* Committing documents: what was written is sent whole, unless another writer's text is to
 * stand. */
#include "fs/bytes/plain.h"
#include "fs/cache/coherence.h"
#include "fs/docs/document_state.h"
#include "fs/docs/store.h"
#include "fs/docs/table.h"
#include "fs/names/made.h"
#include "fs/names/orphans.h"
#include "fs/names/statement.h"
#include "fs/stream/refusals.h"
#include "util/text/json_shape.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

int document_send(struct call *call, const struct where *w, const struct where *from,
		  const char *data, size_t len, bool created) {
	switch (w->place->route->kind) {
	case KIND_ROW:
		return from != NULL ? store_replace_by(call, from, w, data, len)
				    : store_row(call, w, data, len, created);
	case KIND_TABLE:
		return table_store(call, w, from, data, len);
	default:
		return store_column(call, w, data, len, false);
	}
}

static bool is_json(const struct place *place) {
	const char *type = place->route->kind == KIND_COLUMN ? place->column->base : "json";
	return strcmp(type, "json") == 0 || strcmp(type, "jsonb") == 0;
}

/* True if another program writes H than the one that made it: a shell has directed output there.
 * The shell's child makes the file, and then becomes the program. */
static bool is_redirected(const struct call *call, const struct handle *h) {
	const struct open_document *d = document_of(h);
	char name[PROCESS_NAME];
	process_name(call_thread(call), name);
	return d->maker[0] != '\0' && name[0] != '\0' && strcmp(d->maker, name) != 0;
}

/* RC says why a new file was refused: true if it may be the temporary file of a save all the
 * same, see orphans.h. A column's has no row. A row's document says another row, or has a unique
 * value of it; since that is a mistake where nobody means to rename the file, it must have been
 * made as mkstemp(3) makes files, or by a shell. */
static bool may_wait(struct call *call, const struct handle *h, const struct where *w, int rc) {
	const struct open_document *d = document_of(h);
	if (!d->fresh || w->place->nkeys == 0)
		return false;
	if (w->place->route->kind == KIND_COLUMN)
		return refuse_is_input_error(rc) && store_column_has_no_row(call, w);
	bool temporary = (h->flags & (O_ACCMODE | O_EXCL)) == (O_RDWR | O_EXCL);
	return h->kind->row && (call->other_row || rc == -EEXIST) &&
	       (temporary || is_redirected(call, h));
}

static int commit(struct call *call, struct handle *h, enum sync_reason reason) {
	struct open_document *d = document_of(h);
	AUTO_WHERE struct where w = { 0 };
	int rc = node_where(call->fs->nodes, h->node, &w);
	if (rc != 0)
		return rc;
	size_t len = d->data.len, was = len;
	if (d->state != DOCUMENT_REFUSED && is_json(w.place))
		len = edits_document(&d->edits, &d->data, reason == SYNC_FSYNC);
	if (d->data.len != was)
		handle_resized(h, d->data.len);
	const char *data = d->data.data != NULL ? d->data.data : "";
	if (d->state == DOCUMENT_REFUSED) {
		rc = d->refused;
		document_move(d, DOCUMENT_NOT_COMMITTED);
		if (rc == -EFBIG)
			(void)document_too_large(call);
		else
			(void)call_error(call, -rc, "a write was refused before: %s",
					 strerror(-rc));
		return refuse_input(call->fs->stream, w.path, 0, data, d->data.len, rc, &call->err);
	}
	unsigned long ticket = coherence_ticket(call->fs);
	/* others may have written since it was found empty or missing: what is there stays */
	bool append = d->base != NOT_APPENDED && (h->flags & O_APPEND) != 0 &&
		      w.place->sql.append.sql != NULL;
	if (append)
		rc = store_column(call, &w, data + d->base, d->data.len - d->base, true);
	else
		rc = document_send(call, &w, NULL, data, len, d->made);
	if (rc != 0 && may_wait(call, h, &w, rc)) {
		db_error_clear(&call->err);
		document_move(d, DOCUMENT_SET_ASIDE);
		rc = orphans_keep(call, w.path, data, len);
		node_unhash(call->fs->nodes, h->node);
		return rc != 0 ? refuse_input(call->fs->stream, w.path, 0, data, len, rc,
					      &call->err)
			       : 0;
	}
	document_move(d, rc == 0 ? DOCUMENT_COMMITTED : DOCUMENT_NOT_COMMITTED);
	if (rc != 0) {
		statement_name_rules(&call->err, w.place);
		return refuse_input(call->fs->stream, w.path, 0, data, len, rc, &call->err);
	}
	d->base = d->data.len;
	d->document = len < d->data.len ? len : 0;
	edits_begin(&d->edits, &d->data);
	plain_unmark(call->fs->plain, w.path);
	if (w.place->route->kind != KIND_COLUMN)
		made_note(call->fs->made, call_thread(call), w.path, d->fresh, data, len);
	d->made = d->fresh = false;
	d->seen_ticket = ticket;
	node_written(call->fs->nodes, h->node);
	d->seen_at = node_changed_at(call->fs->nodes, h->node);
	return 0;
}

struct others {
	const struct handle *than;
	bool write;
};

static void look_at(void *arg, struct handle *h) {
	struct others *others = arg;
	int text = UNDER_WAY_TEXT;
	if (others->write || h == others->than || h->kind->state != &document_state_type)
		return;
	struct open_document *d = document_of(h);
	others->write = atomic_load(&d->under_way) != UNDER_WAY_NONE;
	/* unless it ends just now: then this one comes last */
	if (others->write && document_of(others->than)->made)
		others->write =
			atomic_compare_exchange_strong(&d->under_way, &text, UNDER_WAY_MADE) ||
			text == UNDER_WAY_MADE;
}

/* H has emptied or made the document, and written nothing. If another one has committed a text
 * since, that is what stands in it, as in any file: there is nothing to commit. Nor is there if
 * H is CLOSED, and another one is about to commit: it comes last. */
static void give_way(struct call *call, struct handle *h, bool closed) {
	struct open_document *d = document_of(h);
	struct others others = { .than = h };
	if (d->state != DOCUMENT_EMPTIED)
		return;
	if (closed)
		handles_of_file(call->fs, h->node->ino, look_at, &others);
	/* in this order: a text is under way until the change is known */
	if (!others.write && node_changed_at(call->fs->nodes, h->node) == d->seen_at)
		return;
	document_move(d, DOCUMENT_GIVES_WAY);
	d->made = false;
	document_begin(h);
}

int document_sync(struct call *call, struct handle *h, enum sync_reason reason) {
	struct open_document *d = document_of(h);
	int rc = 0;
	give_way(call, h, reason == SYNC_RELEASE);
	if (d->state == DOCUMENT_EMPTIED && reason == SYNC_FLUSH) {
		handle_unsettle(call->fs, h, true);
		return 0;
	}
	if (document_is_dirty(d))
		rc = commit(call, h, reason);
	document_note_under_way(h);
	handle_unsettle(call->fs, h, false);
	if (reason == SYNC_RELEASE && d->made && d->state == DOCUMENT_FAILED &&
	    node_changed_at(call->fs->nodes, h->node) == d->seen_at) {
		/* nothing came of it, nor of others: the name goes, too */
		AUTO_FREE char *path = node_path(call->fs->nodes, h->node, NULL);
		if (path != NULL)
			(void)!plain_unlink(call->fs->plain, path);
		node_unhash(call->fs->nodes, h->node);
	}
	return rc;
}

/* A text that is no document yet has its rest in the program's buffer. */
static bool is_whole(struct handle *h) {
	struct open_document *d = document_of(h);
	AUTO_BUF struct buf why = { 0 };
	size_t len = edits_document(&d->edits, &d->data, true);
	return !is_json(h->node->place) || json_check_stored(d->data.data, len, &why) == 0;
}

int document_unlocking(struct call *call, struct handle *h) {
	struct open_document *d = document_of(h);
	if (d->state != DOCUMENT_CHANGED || !is_whole(h))
		return 0;
	return document_sync(call, h, SYNC_FSYNC);
}
