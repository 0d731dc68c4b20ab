/* Documents: one row, one column, many rows or the result of a query, as one body. The handle
 * holds the bytes as they were at open; what is written changes them there, and flush, fsync or
 * release sends them whole, in one statement. */
#include "fs/docs/document.h"

#include "db/field.h"
#include "fs/bytes/plain.h"
#include "fs/bytes/scratch.h"
#include "fs/cache/coherence.h"
#include "fs/docs/document_state.h"
#include "fs/docs/large.h"
#include "fs/docs/store.h"
#include "fs/names/lookup.h"
#include "fs/names/statement.h"
#include "fs/stream/refusals.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

/* -- reading ----------------------------------------------------------------------------------- */

/* All of the document into the handle's own bytes, to be changed there. */
static int load(struct call *call, struct handle *h) {
	struct open_document *d = document_of(h);
	AUTO_BODY struct body *body = body_take(call->fs, h->node);
	if (h->node->pending)
		return 0;
	if (body == NULL || !node_has_name(call->fs->nodes, h->node))
		return document_fetch(call, h);
	d->seen_at = node_found_at(call->fs->nodes, h->node, &d->seen_ticket);
	return document_take(call, h, body->data, body->len);
}

/* Gives H the BODY, whose reference it takes over, in place of one that it may have. */
static int set_body(struct call *call, struct handle *h, struct body *body) {
	struct open_document *d = document_of(h);
	if (!body_open(call->fs, body)) {
		body_release(body);
		return handle_no_memory(call);
	}
	body_close(call->fs, d->body);
	d->body = body;
	return 0;
}

/* H is to read what was FOUND now; without a body, its file has it already. If that is the node's
 * version, H may read through the kernel's pages. Otherwise returns -ESTALE, which makes the kernel
 * look the name up again, or 0: H reads past its pages. */
static int take_read(struct call *call, struct handle *h, const struct found *found) {
	struct nodes *nodes = call->fs->nodes;
	bool cached = node_read(nodes, h->node, found);
	h->kpages = cached ? KPAGES_VERSION : KPAGES_NONE;
	if (!cached && node_may_retry(nodes, h->node, call_thread(call)))
		return -ESTALE;
	if (found->body == NULL)
		return 0;
	struct body *body = body_new(found->body, found->body_len);
	int rc = body != NULL ? set_body(call, h, body) : -ENOMEM;
	if (rc == 0 && cached)
		node_keep_body(nodes, h->node, document_of(h)->body);
	return rc;
}

/* The same where it is too large for memory: the handle's file has it. */
static int load_large(struct call *call, struct handle *h, const struct where *w) {
	AUTO_BUF struct buf version = { 0 };
	struct scratch *large;
	int rc = large_read(call, w, &large, &version);
	if (rc != 0)
		return rc;
	document_of(h)->large = large;
	atomic_store(&h->size, scratch_size(large));
	const struct found found = { .type = NODE_PLACE,
				     .place = h->node->place,
				     .attr.size = scratch_size(large),
				     .version = version.data };
	return take_read(call, h, &found);
}

/* A query whose name is in the layout: no look-up has run it. */
static int run_query(struct call *call, struct handle *h, const struct where *w) {
	AUTO_RESULT PGresult *res = NULL;
	struct found found = { 0 };
	int rc = lookup_document(call, w, &res, &found);
	if (rc != 0)
		return rc;
	return found.body != NULL ? take_read(call, h, &found) : load_large(call, h, w);
}

/* The document for a reader: as the look-up brought it, or as it is now. What is another version
 * than the node's must not get into the node's pages. */
static int load_for_reader(struct call *call, struct handle *h) {
	struct open_document *d = document_of(h);
	struct nodes *nodes = call->fs->nodes;
	AUTO_BODY struct body *known =
		h->node->pending ? body_new("", 0) : body_take(call->fs, h->node);
	AUTO_WHERE struct where w = { 0 };
	AUTO_RESULT PGresult *res = NULL;
	d->seen_ticket = coherence_ticket(call->fs);
	d->seen_at = known != NULL ? node_found_at(nodes, h->node, &d->seen_ticket)
				   : node_changed_at(nodes, h->node);
	/* a body is of the node's version, and so is the size that the kernel knows; the name may
	 * have gone on to another since */
	if (known != NULL && !h->node->written) {
		h->kpages = h->node->pending ? KPAGES_NONE : KPAGES_VERSION;
		return set_body(call, h, move_ptr(known));
	}
	int rc = node_where(nodes, h->node, &w);
	struct attributes attr = node_attributes(nodes, h->node);
	if (rc == 0 && known == NULL && attr.unsized && h->kind == &query_kind)
		return run_query(call, h, &w);
	bool large = known == NULL && (attr.unsized || attr.size >= LARGE_FROM) &&
		     h->node->place->sql.pieces != NULL;
	if (rc == 0 && large)
		return load_large(call, h, &w);
	if (rc == 0)
		rc = document_query(call, &w, &res);
	if (rc == -ENOENT && known != NULL) /* it went after the look-up */
		return set_body(call, h, move_ptr(known));
	if (rc != 0)
		return rc;
	const struct found found = { .type = NODE_PLACE,
				     .place = h->node->place,
				     .attr.size = field_len(res, 0, BODY_BYTES),
				     .version = field_text(res, 0, BODY_VERSION),
				     .body = field_text(res, 0, BODY_BYTES),
				     .body_len = field_len(res, 0, BODY_BYTES) };
	return take_read(call, h, &found);
}

/* Other threads know of the handle already: see show_present(). */
static int document_open(struct call *call, struct handle *h) {
	struct open_document *d = document_of(h);
	LOCK_SCOPE(&h->lock);
	bool writes = (h->flags & O_ACCMODE) != O_RDONLY;
	if (writes && !h->kind->writable)
		return call_error(call, EROFS,
				  "this file is made by the database and cannot be written");
	if (!writes) {
		int rc = load_for_reader(call, h);
		if (rc == 0 && d->body != NULL)
			atomic_store(&h->size, d->body->len);
		if (rc == 0)
			document_move(d, DOCUMENT_OPENED_TO_READ);
		return rc;
	}
	d->seen_ticket = coherence_ticket(call->fs);
	d->seen_at = node_changed_at(call->fs->nodes, h->node);
	bool cut = (h->flags & O_TRUNC) != 0;
	if (!cut && !h->created) {
		int rc = load(call, h);
		if (rc != 0)
			return rc;
	}
	d->made = h->created;
	d->fresh = d->made || h->node->pending;
	if (d->fresh && h->kind->row)
		process_name(call_thread(call), d->maker);
	document_begin(h);
	if (cut)
		d->base = NOT_APPENDED;
	/* an empty file is a column's value ''; other documents that are made say nothing yet */
	bool empty = d->made ? h->node->place->route->kind == KIND_COLUMN : cut;
	document_move(d, empty ? DOCUMENT_OPENED_EMPTY : DOCUMENT_OPENED);
	h->wrote = empty;
	if (empty)
		handle_resized(h, d->data.len);
	else
		atomic_store(&h->size, d->data.len);
	return 0;
}

static int document_read(struct call *call, struct handle *h, size_t size, uint64_t offset,
			 struct buf *out) {
	struct open_document *d = document_of(h);
	if (d->large != NULL)
		return scratch_read(d->large, size, offset, out);
	int rc = offset == 0 ? document_load_again(call, h, false) : 0;
	if (rc != 0)
		return rc;
	const char *data = d->body != NULL ? d->body->data : d->data.data;
	size_t len = d->body != NULL ? d->body->len : d->data.len;
	return buf_add_part(out, data, len, size, offset);
}

/* -- changing the bytes in the handle ---------------------------------------------------------- */

/* A write, or a cut, of H was refused: half a text must not be committed at close. Returns RC. */
static int refuse(struct handle *h, int rc) {
	struct open_document *d = document_of(h);
	d->refused = rc;
	document_move(d, DOCUMENT_NOT_WRITTEN);
	h->wrote = true;
	return rc;
}

static int document_write(struct call *call, struct handle *h, const char *data, size_t size,
			  uint64_t offset) {
	struct open_document *d = document_of(h);
	if (h->given)
		return call_error(call, ESTALE, HANDLE_GIVEN);
	if ((h->flags & O_APPEND) != 0)
		offset = d->data.len;
	if (offset + size > h->most) {
		(void)refuse(h, -EFBIG);
		return document_too_large(call);
	}
	if (offset < d->data.len)
		d->base = NOT_APPENDED;
	int rc = handle_room(call, h, &d->data, (size_t)offset + size);
	if (rc == 0 && offset + size > d->data.len)
		buf_resize(&d->data, (size_t)offset + size);
	if (rc != 0 || d->data.failed)
		return refuse(h, -ENOMEM);
	memcpy(d->data.data + offset, data, size);
	edits_write(&d->edits, (size_t)offset, size);
	d->document = 0;
	document_move(d, DOCUMENT_WRITTEN);
	h->wrote = true;
	handle_unsettle(call->fs, h, false);
	handle_resized(h, d->data.len);
	document_note_under_way(h);
	return 0;
}

static int document_truncate(struct call *call, struct handle *h, uint64_t size) {
	struct open_document *d = document_of(h);
	if (size > h->most)
		return document_too_large(call);
	if (size == d->data.len)
		return 0;
	bool committed = !document_is_dirty(d) && d->document > 0 && size == d->document;
	int rc = handle_room(call, h, &d->data, (size_t)size);
	if (size < d->data.len)
		d->base = NOT_APPENDED;
	if (rc == 0)
		buf_resize(&d->data, (size_t)size);
	if (rc != 0 || d->data.failed)
		return refuse(h, -ENOMEM);
	d->document = 0;
	if (committed) { /* only the rest of the older text is cut off */
		d->base = d->data.len;
		edits_begin(&d->edits, &d->data);
		handle_resized(h, d->data.len);
		return 0;
	}
	edits_truncate(&d->edits, (size_t)size);
	document_move(d, size == 0 ? DOCUMENT_CUT_TO_NOTHING : DOCUMENT_CUT);
	h->wrote = true;
	if (size == 0)
		d->seen_at = node_changed_at(call->fs->nodes, h->node);
	handle_resized(h, d->data.len);
	document_note_under_way(h);
	return 0;
}

/* -- as kinds ---------------------------------------------------------------------------------- */

/* In a directory that has a row, or is going to have one. */
static int column_may_create(struct call *call, const struct where *w, bool pending) {
	return pending || statement_parent_exists(call, w) ? 0 : -ENOENT;
}

static int document_store(struct call *call, const struct where *w, const struct where *from,
			  const char *data, size_t len) {
	int rc = document_send(call, w, from, data, len, false);
	if (rc != 0 && from != NULL)
		return rc; /* it is kept: by the rows of its own name */
	if (rc != 0)
		return refuse_input(call->fs->stream, w->path, 0, data, len, rc, &call->err);
	plain_unmark(call->fs->plain, w->path);
	return 0;
}

static int query_store(struct call *call, const struct where *w, const struct where *from,
		       const char *data, size_t len) {
	return store_remove_query(call, w);
}

static void document_close(struct fs *fs, struct handle *h) {
	struct open_document *d = document_of(h);
	scratch_release(d->large);
	buf_free(&d->data);
	body_close(fs, d->body);
}

static uint64_t document_held(struct handle *h) {
	return handle_fit(&document_of(h)->data);
}

static struct body *document_body(struct handle *h) {
	struct open_document *d = document_of(h);
	LOCK_SCOPE(&h->lock);
	if (d->body != NULL)
		atomic_fetch_add(&d->body->references, 1);
	return d->body;
}

static const struct buf *document_unsent(const struct handle *h) {
	const struct open_document *d = document_of(h);
	return document_is_dirty(d) ? &d->data : NULL;
}

/* What all documents have. */
#define DOCUMENT                                                                                   \
	.state = &document_state_type, .open = document_open, .read = document_read,               \
	.write = document_write, .truncate = document_truncate, .sync = document_sync,             \
	.locked = document_locked, .close = document_close, .held = document_held,                 \
	.body = document_body, .unsent = document_unsent

/* And those that can be written. */
#define WRITTEN_DOCUMENT                                                                           \
	DOCUMENT, .writable = true, .own_size = true, .document = true,                            \
		  .unlocking = document_unlocking, .store = document_store

const struct kind row_kind = {
	.name = "row",
	WRITTEN_DOCUMENT,
	.row = true,
	.removal = REMOVAL_ROWS,
	.remove = store_remove,
};

const struct kind column_kind = {
	.name = "column",
	WRITTEN_DOCUMENT,
	.name_stays = true,
	.to_cut = CHANGE_ANEW,
	.to_replace = CHANGE_ANEW,
	.removal = REMOVAL_VALUE,
	.may_create = column_may_create,
	.remove = store_remove,
};

const struct kind table_kind = {
	.name = "table",
	WRITTEN_DOCUMENT,
	.lines = true,
	.name_stays = true,
	.to_write = CHANGE_ANEW,
	.to_cut = CHANGE_ANEW,
	.to_replace = CHANGE_ANEW,
	.to_place = CHANGE_ANEW,
	.removal = REMOVAL_ROWS,
	.remove = store_remove_table,
};

const struct kind query_kind = {
	.name = "query",
	.writable = false,
	DOCUMENT,
	.to_cut = CHANGE_ANEW,
	.to_replace = CHANGE_ANEW,
	.removal = REMOVAL_ROWS,
	.remove = store_remove_query,
	.store = query_store,
};
