/* Documents: one row, one column, many rows or the result of a query, as one body. The handle
 * holds the bytes as they were at open; what is written changes them there, and flush, fsync or
 * release sends them whole, in one statement. */
#include "fs/docs/document.h"

#include "fs/core/call.h"
#include "fs/open/handle.h"

#include "db/field.h"
#include "fs/cache/coherence.h"
#include "fs/docs/edits.h"
#include "fs/docs/large.h"
#include "fs/names/made.h"
#include "fs/bytes/plain.h"
#include "fs/core/report.h"
#include "fs/bytes/scratch.h"
#include "fs/docs/store.h"
#include "fs/names/statement.h"
#include "fs/stream/refusals.h"
#include "fs/docs/table.h"
#include "fs/names/orphans.h"
#include "util/text/json_shape.h"
#include "util/mutex.h"
#include "util/process.h"
#include "util/states.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* Whether a document's text is written and not committed. */
enum under_way {
	UNDER_WAY_NONE,
	UNDER_WAY_TEXT,
	UNDER_WAY_MADE, /* and the handle that made the file has given way to this one: if nothing
			 * comes of it, the name goes */
};

/* What a handle has of its document. */
enum document_state {
	DOCUMENT_OPENING, /* its open is not over, or has failed */
	DOCUMENT_READS,   /* a reader's: a body, or a file of its own */
	DOCUMENT_CLEAN,   /* a writer's: nothing to commit */
	DOCUMENT_EMPTIED, /* emptied or made, and nothing written since */
	DOCUMENT_CHANGED, /* a text to commit */
	DOCUMENT_REFUSED, /* a write was refused: the text goes to rejected/ */
	DOCUMENT_FAILED,  /* the same as clean, but the last commit failed for good */
	DOCUMENT_STATES
};

enum document_event {
	DOCUMENT_OPENED_TO_READ,
	DOCUMENT_OPENED,
	DOCUMENT_OPENED_EMPTY, /* O_TRUNC, or it was made and an empty file is a value */
	DOCUMENT_WRITTEN,
	DOCUMENT_CUT_TO_NOTHING,
	DOCUMENT_CUT, /* to another length */
	DOCUMENT_NOT_WRITTEN,
	DOCUMENT_COMMITTED,
	DOCUMENT_NOT_COMMITTED, /* refused by the server, or given up */
	DOCUMENT_GIVES_WAY,     /* to the text of another handle */
	DOCUMENT_SET_ASIDE,     /* kept as an orphan: see orphans.h */
	DOCUMENT_LOADED,        /* again, since another one has changed it */
	DOCUMENT_EVENTS
};

static const char *const document_states[DOCUMENT_STATES] = {
	"opening", "reads", "clean", "emptied", "changed", "refused", "failed",
};
static const char *const document_events[DOCUMENT_EVENTS] = {
	"opened-to-read", "opened",    "opened-empty",  "written",   "cut-to-nothing", "cut",
	"not-written",    "committed", "not-committed", "gives-way", "set-aside",      "loaded",
};

#define CHANGES                                                                                    \
	[DOCUMENT_WRITTEN] = STATE_TO(DOCUMENT_CHANGED),                                           \
	[DOCUMENT_CUT_TO_NOTHING] = STATE_TO(DOCUMENT_EMPTIED),                                    \
	[DOCUMENT_CUT] = STATE_TO(DOCUMENT_CHANGED),                                               \
	[DOCUMENT_NOT_WRITTEN] = STATE_TO(DOCUMENT_REFUSED)
#define COMMITS                                                                                    \
	[DOCUMENT_COMMITTED] = STATE_TO(DOCUMENT_CLEAN),                                           \
	[DOCUMENT_NOT_COMMITTED] = STATE_TO(DOCUMENT_FAILED),                                      \
	[DOCUMENT_SET_ASIDE] = STATE_TO(DOCUMENT_CLEAN)

static const state_next document_moves[DOCUMENT_STATES][DOCUMENT_EVENTS] = {
	[DOCUMENT_OPENING] = { [DOCUMENT_OPENED_TO_READ] = STATE_TO(DOCUMENT_READS),
			       [DOCUMENT_OPENED] = STATE_TO(DOCUMENT_CLEAN),
			       [DOCUMENT_OPENED_EMPTY] = STATE_TO(DOCUMENT_EMPTIED) },
	[DOCUMENT_CLEAN] = { CHANGES, [DOCUMENT_LOADED] = STATE_TO(DOCUMENT_CLEAN) },
	[DOCUMENT_EMPTIED] = { [DOCUMENT_WRITTEN] = STATE_TO(DOCUMENT_CHANGED),
			       [DOCUMENT_CUT] = STATE_TO(DOCUMENT_CHANGED),
			       [DOCUMENT_NOT_WRITTEN] = STATE_TO(DOCUMENT_REFUSED),
			       COMMITS,
			       [DOCUMENT_GIVES_WAY] = STATE_TO(DOCUMENT_CLEAN) },
	[DOCUMENT_CHANGED] = { CHANGES, COMMITS },
	/* half a text must not be committed, whatever is written behind it */
	[DOCUMENT_REFUSED] = { [DOCUMENT_WRITTEN] = STATE_TO(DOCUMENT_REFUSED),
			       [DOCUMENT_CUT_TO_NOTHING] = STATE_TO(DOCUMENT_REFUSED),
			       [DOCUMENT_CUT] = STATE_TO(DOCUMENT_REFUSED),
			       [DOCUMENT_NOT_WRITTEN] = STATE_TO(DOCUMENT_REFUSED),
			       [DOCUMENT_NOT_COMMITTED] = STATE_TO(DOCUMENT_FAILED) },
	[DOCUMENT_FAILED] = { CHANGES, [DOCUMENT_LOADED] = STATE_TO(DOCUMENT_CLEAN) },
};

static struct state_table document_table =
	STATE_TABLE("document", document_states, document_events, document_moves);

#define NOT_APPENDED SIZE_MAX

/* A document's handle. Guarded by the handle's lock, where nothing else is said. */
struct open_document {
	struct buf data;
	struct body *body;     /* a reader's document, in place of data; holds a reference */
	struct scratch *large; /* the same, where it is too large for memory; holds a reference */
	atomic_int under_way;  /* enum under_way; changed without the lock, too */
	int state;             /* enum document_state */
	size_t base; /* it was only appended to, behind so many bytes; NOT_APPENDED: it was not */
	int64_t seen_at;           /* node_changed_at() when data or body was loaded or committed */
	unsigned long seen_ticket; /* coherence_ticket() before; 0: unknown */
	struct edits edits;
	/* of data, from the start on, what was committed; behind it is the rest of an older
	 * text. 0: all */
	size_t document;
	bool made;                /* by this handle's open, and nothing is committed */
	bool fresh;               /* it had no rows when it was opened, and nothing is committed */
	int refused;              /* DOCUMENT_REFUSED: -errno of the write */
	char maker[PROCESS_NAME]; /* name of the process that made it, for may_wait(); "" */
};

static const struct state_type document_state_type = { sizeof(struct open_document) };

static struct open_document *document_of(const struct handle *h) {
	return h->state;
}

static void move(struct open_document *d, enum document_event event) {
	d->state = state_move(&document_table, d->state, event);
}

/* True if D has something to commit. */
static bool is_dirty(const struct open_document *d) {
	return d->state == DOCUMENT_EMPTIED || d->state == DOCUMENT_CHANGED ||
	       d->state == DOCUMENT_REFUSED;
}

/* -- reading ----------------------------------------------------------------------------------- */

/* The document as it is now; *RES has it, and its version. */
static int query_body(struct call *call, const struct where *w, PGresult **res) {
	struct db_param params[WHERE_PARAMS];
	struct db_statement *st = (struct db_statement *)(uintptr_t)&w->place->sql.body;
	int n = where_params(w, params);
	int rc = db_query(call->fs->pool, st, params, n, DB_REPEATABLE | DB_BINARY,
			  call_cancel(call), res, &call->err);
	coherence_own(call->fs, &call->err);
	if (rc == 0)
		rc = field_judge(*res, ROWS_ANY, "t?t?", &call->err);
	if (rc != 0)
		return rc;
	return PQntuples(*res) == 0 || field_is_null(*res, 0, BODY_BYTES) ? -ENOENT : 0;
}

/* H has these LEN bytes, and no others. */
static int take_text(struct call *call, struct handle *h, const char *data, size_t len) {
	struct open_document *d = document_of(h);
	int rc = handle_room(call, h, &d->data, len);
	if (rc != 0)
		return rc;
	buf_resize(&d->data, 0);
	buf_add(&d->data, data, len);
	return d->data.failed ? -ENOMEM : 0;
}

/* All of the document into the handle's own bytes, to be changed there. */
static int load(struct call *call, struct handle *h) {
	struct open_document *d = document_of(h);
	AUTO_BODY struct body *body = body_take(call->fs, h->node);
	AUTO_WHERE struct where w = { 0 };
	AUTO_RESULT PGresult *res = NULL;
	if (h->node->pending)
		return 0;
	if (body != NULL && node_has_name(call->fs->nodes, h->node)) {
		d->seen_at = node_found_at(call->fs->nodes, h->node, &d->seen_ticket);
		return take_text(call, h, body->data, body->len);
	}
	int rc = node_where(call->fs->nodes, h->node, &w);
	if (rc == 0)
		rc = query_body(call, &w, &res);
	if (rc != 0)
		return rc;
	return take_text(call, h, field_text(res, 0, BODY_BYTES), field_len(res, 0, BODY_BYTES));
}

/* The same where it is too large for memory: the handle's file has it. */
static int load_large(struct call *call, struct handle *h, const struct where *w) {
	struct open_document *d = document_of(h);
	AUTO_BUF struct buf version = { 0 };
	struct scratch *large;
	int rc = large_read(call, w, &large, &version);
	if (rc != 0)
		return rc;
	d->large = large;
	bool cached = node_is_version(call->fs->nodes, h->node, version.data);
	h->pages = cached ? PAGES_VERSION : PAGES_NONE;
	if (!cached && node_may_retry(call->fs->nodes, h->node, call_thread(call)))
		return -ESTALE;
	atomic_store(&h->size, scratch_size(large));
	return 0;
}

/* Gives H the BODY, whose reference it takes over, in place of one that it may have. */
static int set_body(struct call *call, struct handle *h, struct body *body) {
	struct open_document *d = document_of(h);
	if (!body_open(call->fs, body)) {
		body_release(body);
		return handle_no_memory(call);
	}
	body_close(call->fs, d->body);
	body_release(d->body);
	d->body = body;
	return 0;
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
		h->pages = h->node->pending ? PAGES_NONE : PAGES_VERSION;
		return set_body(call, h, move_ptr(known));
	}
	int rc = node_where(nodes, h->node, &w);
	bool large = known == NULL && node_attributes(nodes, h->node).size >= LARGE_FROM &&
		     h->node->place->sql.pieces != NULL;
	if (rc == 0 && large)
		return load_large(call, h, &w);
	if (rc == 0)
		rc = query_body(call, &w, &res);
	if (rc == -ENOENT && known != NULL) /* it went after the look-up */
		return set_body(call, h, move_ptr(known));
	if (rc != 0)
		return rc;
	bool cached = node_is_version(nodes, h->node, field_text(res, 0, BODY_VERSION));
	h->pages = cached ? PAGES_VERSION : PAGES_NONE;
	if (!cached && node_may_retry(nodes, h->node, call_thread(call)))
		return -ESTALE; /* the kernel looks the name up again */
	struct body *body = body_new(field_text(res, 0, BODY_BYTES), field_len(res, 0, BODY_BYTES));
	rc = body != NULL ? set_body(call, h, body) : -ENOMEM;
	if (rc == 0 && cached)
		node_keep_body(call->fs->nodes, h->node, d->body);
	return rc;
}

/* H has the document as it is, and its program has changed nothing of it. */
static void begin(struct handle *h) {
	struct open_document *d = document_of(h);
	d->base = d->data.len;
	d->document = 0;
	edits_begin(&d->edits, &d->data);
}

/* True if H has the document as it is now; so far as this mount has changed it, unless
 * BY_ANYBODY. *AT, *TICKET: for what is loaded then. */
static bool is_present(struct call *call, const struct handle *h, bool by_anybody, int64_t *at,
		       unsigned long *ticket) {
	const struct open_document *d = document_of(h);
	struct nodes *nodes = call->fs->nodes;
	*ticket = coherence_ticket(call->fs);
	*at = node_changed_at(nodes, h->node);
	return *at == d->seen_at &&
	       (!by_anybody || node_is_same_since(nodes, h->node, d->seen_ticket));
}

/* A program that reads from the start, and has changed nothing that is not committed, means the
 * document as it is now: it may have waited for a lock since it opened the file, and another one
 * has written meanwhile. LOCKED: it has got one, and others than this mount count, too. */
static int load_again(struct call *call, struct handle *h, bool locked) {
	struct open_document *d = document_of(h);
	int64_t changed_at;
	unsigned long ticket;
	AUTO_WHERE struct where w = { 0 };
	AUTO_RESULT PGresult *res = NULL;
	if ((d->state != DOCUMENT_CLEAN && d->state != DOCUMENT_FAILED) ||
	    is_present(call, h, locked, &changed_at, &ticket))
		return 0;
	int rc = node_where(call->fs->nodes, h->node, &w);
	if (rc == 0)
		rc = query_body(call, &w, &res);
	if (rc != 0)
		return rc == -ENOENT ? 0
				     : rc; /* it is gone: what was read before is the last of it */
	rc = take_text(call, h, field_text(res, 0, BODY_BYTES), field_len(res, 0, BODY_BYTES));
	if (rc != 0)
		return rc;
	d->seen_at = changed_at;
	d->seen_ticket = ticket;
	begin(h);
	move(d, DOCUMENT_LOADED);
	handle_resized(h, d->data.len);
	return 0;
}

static int open_locked(struct call *call, struct handle *h) {
	struct open_document *d = document_of(h);
	bool writes = (h->flags & O_ACCMODE) != O_RDONLY;
	if (writes && !h->kind->writable)
		return call_error(call, EROFS,
				  "this file is made by the database and cannot be written");
	if (!writes) {
		int rc = load_for_reader(call, h);
		if (rc == 0 && d->body != NULL)
			atomic_store(&h->size, d->body->len);
		if (rc == 0)
			move(d, DOCUMENT_OPENED_TO_READ);
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
	begin(h);
	if (cut)
		d->base = NOT_APPENDED;
	/* an empty file is a column's value ''; other documents that are made say nothing yet */
	bool empty = d->made ? h->node->place->route->kind == KIND_COLUMN : cut;
	move(d, empty ? DOCUMENT_OPENED_EMPTY : DOCUMENT_OPENED);
	h->wrote = empty;
	if (empty)
		handle_resized(h, d->data.len);
	else
		atomic_store(&h->size, d->data.len);
	return 0;
}

/* Other threads know of the handle already: see show_present(). */
static int document_open(struct call *call, struct handle *h) {
	LOCK_SCOPE(&h->lock);
	return open_locked(call, h);
}

static int document_read(struct call *call, struct handle *h, size_t size, uint64_t offset,
			 struct buf *out) {
	struct open_document *d = document_of(h);
	if (d->large != NULL)
		return scratch_read(d->large, size, offset, out);
	int rc = offset == 0 ? load_again(call, h, false) : 0;
	if (rc != 0)
		return rc;
	const char *data = d->body != NULL ? d->body->data : d->data.data;
	size_t len = d->body != NULL ? d->body->len : d->data.len;
	if (offset >= len)
		return 0;
	size_t left = len - (size_t)offset;
	buf_add(out, data + offset, size < left ? size : left);
	return out->failed ? -ENOMEM : 0;
}

/* -- changing the bytes in the handle ---------------------------------------------------------- */

static void settle(struct call *call, struct handle *h) {
	if (!h->unsettled)
		return;
	h->unsettled = false;
	node_unsettle(call->fs->nodes, h->node, false);
}

static int too_large(struct call *call) {
	return call_error(call, EFBIG,
			  "the document would be larger than max_document (%llu bytes)",
			  (unsigned long long)call->fs->opt->max_document);
}

static void note_under_way(struct handle *h) {
	struct open_document *d = document_of(h);
	int none = UNDER_WAY_NONE;
	if (d->state == DOCUMENT_CHANGED || d->state == DOCUMENT_REFUSED)
		(void)atomic_compare_exchange_strong(&d->under_way, &none, UNDER_WAY_TEXT);
	else if (atomic_exchange(&d->under_way, UNDER_WAY_NONE) == UNDER_WAY_MADE)
		d->made = d->state == DOCUMENT_FAILED || d->state == DOCUMENT_EMPTIED;
}

/* A write, or a cut, of H was refused: half a text must not be committed at close. Returns RC. */
static int refuse(struct handle *h, int rc) {
	struct open_document *d = document_of(h);
	d->refused = rc;
	move(d, DOCUMENT_NOT_WRITTEN);
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
	if (offset + size > call->fs->opt->max_document) {
		(void)refuse(h, -EFBIG);
		return too_large(call);
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
	move(d, DOCUMENT_WRITTEN);
	h->wrote = true;
	settle(call, h);
	handle_resized(h, d->data.len);
	note_under_way(h);
	return 0;
}

static int document_truncate(struct call *call, struct handle *h, uint64_t size) {
	struct open_document *d = document_of(h);
	if (size > call->fs->opt->max_document)
		return too_large(call);
	if (size == d->data.len)
		return 0;
	bool committed = !is_dirty(d) && d->document > 0 && size == d->document;
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
	move(d, size == 0 ? DOCUMENT_CUT_TO_NOTHING : DOCUMENT_CUT);
	h->wrote = true;
	if (size == 0)
		d->seen_at = node_changed_at(call->fs->nodes, h->node);
	handle_resized(h, d->data.len);
	note_under_way(h);
	return 0;
}

/* -- committing -------------------------------------------------------------------------------- */

/* Sends the whole document. FROM as in kind.h. CREATED: what it is about most likely is not
 * there. */
static int store_whole(struct call *call, const struct where *w, const struct where *from,
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
		move(d, DOCUMENT_NOT_COMMITTED);
		if (rc == -EFBIG)
			(void)too_large(call);
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
		rc = store_whole(call, &w, NULL, data, len, d->made);
	if (rc != 0 && may_wait(call, h, &w, rc)) {
		db_error_clear(&call->err);
		move(d, DOCUMENT_SET_ASIDE);
		rc = orphans_keep(call, w.path, data, len);
		node_unhash(call->fs->nodes, h->node);
		return rc != 0 ? refuse_input(call->fs->stream, w.path, 0, data, len, rc,
					      &call->err)
			       : 0;
	}
	move(d, rc == 0 ? DOCUMENT_COMMITTED : DOCUMENT_NOT_COMMITTED);
	if (rc != 0) {
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
	move(d, DOCUMENT_GIVES_WAY);
	d->made = false;
	begin(h);
}

static int document_sync(struct call *call, struct handle *h, enum sync_reason reason) {
	struct open_document *d = document_of(h);
	int rc = 0;
	give_way(call, h, reason == SYNC_RELEASE);
	if (d->state == DOCUMENT_EMPTIED && reason == SYNC_FLUSH) {
		if (!h->unsettled) {
			h->unsettled = true;
			node_unsettle(call->fs->nodes, h->node, true);
		}
		return 0;
	}
	if (is_dirty(d))
		rc = commit(call, h, reason);
	note_under_way(h);
	settle(call, h);
	if (reason == SYNC_RELEASE && d->made && d->state == DOCUMENT_FAILED &&
	    node_changed_at(call->fs->nodes, h->node) == d->seen_at) {
		/* nothing came of it, nor of others: the name goes, too */
		AUTO_FREE char *path = node_path(call->fs->nodes, h->node, NULL);
		if (path != NULL)
			plain_unmark_one(call->fs->plain, path);
		node_unhash(call->fs->nodes, h->node);
	}
	return rc;
}

/* -- locks ------------------------------------------------------------------------------------- */

/* The document as it is now, for those who have opened an earlier version to read it. */
struct present {
	struct fs *fs;
	struct nodes *nodes;
	struct node *node;
	struct body *body; /* NULL: too large for memory, and in LARGE */
	struct scratch *large;
	uint64_t size;
	int64_t seen_at;
	unsigned long seen_ticket;
};

/* Held while all that have a version open are shown another one: who is shown it early must not
 * get his lock before the last of them has it, whose reads would fill the pages that they share
 * with the older one. Taken first, with no lock of a handle held. */
static struct mutex showing = MUTEX_INIT(MUTEX_SHOWN);

static int read_present(struct call *call, struct present *p) {
	AUTO_WHERE struct where w = { 0 };
	AUTO_RESULT PGresult *res = NULL;
	AUTO_BUF struct buf version = { 0 };
	int rc = node_where(call->fs->nodes, p->node, &w);
	if (rc == 0 && w.place->sql.pieces != NULL && p->size >= LARGE_FROM) {
		rc = large_read(call, &w, &p->large, &version);
		p->size = rc == 0 ? scratch_size(p->large) : p->size;
		return rc;
	}
	if (rc == 0)
		rc = query_body(call, &w, &res);
	if (rc != 0)
		return rc;
	p->size = field_len(res, 0, BODY_BYTES);
	struct body *body = body_new(field_text(res, 0, BODY_BYTES), p->size);
	if (body == NULL || !body_open(call->fs, body)) {
		body_release(body);
		return call_error(call, ENOMEM, "open files take all of memory_max: close some");
	}
	p->body = body;
	return 0;
}

static void show_present(void *arg, struct handle *h) {
	struct open_document *d = document_of(h);
	struct present *p = arg;
	if (h->node != p->node)
		return;
	LOCK_SCOPE(&h->lock);
	if (d->state != DOCUMENT_READS)
		return; /* what it reads it has still to find; or it writes */
	if ((p->seen_at != 0 && p->seen_at < d->seen_at) ||
	    (p->seen_at == d->seen_at && p->seen_ticket < d->seen_ticket))
		return; /* somebody else has shown it a later one */
	scratch_release(d->large);
	d->large = p->large != NULL ? scratch_hold(p->large) : NULL;
	body_close(p->fs, d->body);
	body_release(d->body);
	d->body = NULL;
	if (p->body != NULL && body_open(p->fs, p->body)) { /* it is open: see read_present() */
		atomic_fetch_add(&p->body->references, 1);
		d->body = p->body;
	}
	atomic_store(&h->size, p->size);
	node_resized(p->nodes, p->node, p->size);
	d->seen_at = p->seen_at;
	d->seen_ticket = p->seen_ticket;
}

/* True if H has just that document: then only what is known of it is newer. */
static bool has_present(struct handle *h, const struct present *p) {
	struct open_document *d = document_of(h);
	LOCK_SCOPE(&h->lock);
	bool same = d->seen_at == p->seen_at && d->body != NULL && p->body != NULL &&
		    d->body->len == p->body->len &&
		    memcmp(d->body->data, p->body->data, p->body->len) == 0;
	if (same)
		d->seen_ticket = p->seen_ticket;
	return same;
}

/* The kernel has the pages of a version for all that have it open: so they go on to the present
 * one together. The node says so first: who is opening it either is shown the present version,
 * or does not read through its pages. */
static int go_on(struct call *call, struct handle *h, struct present *p) {
	int rc = read_present(call, p);
	if (rc == 0 && !has_present(h, p)) {
		LOCK_SCOPE(&showing);
		node_moved_on(call->fs->nodes, p->node);
		handles_of_file(call->fs, p->node->ino, show_present, p);
	}
	body_close(call->fs, p->body);
	body_release(p->body);
	scratch_release(p->large);
	return rc == -ENOENT ? 0 : rc; /* it is gone: what was opened is the last of it */
}

static int document_locked(struct call *call, struct handle *h) {
	struct open_document *d = document_of(h);
	struct present p = { .fs = call->fs, .nodes = call->fs->nodes, .node = h->node };
	bool has;
	{
		LOCK_SCOPE(&h->lock);
		if (d->state != DOCUMENT_READS)
			return load_again(call, h, true);
		p.size = atomic_load(&h->size);
		has = is_present(call, h, true, &p.seen_at, &p.seen_ticket);
	}
	int rc = has ? 0 : go_on(call, h, &p);
	if (rc != 0 || !h->node->written)
		return rc;
	/* also if another one makes it go on: its pages are perhaps not forgotten yet */
	LOCK_SCOPE(&showing);
	return LOCKED_OTHER_PAGES;
}

/* A text that is no document yet has its rest in the program's buffer. */
static bool is_whole(struct handle *h) {
	struct open_document *d = document_of(h);
	AUTO_BUF struct buf why = { 0 };
	size_t len = edits_document(&d->edits, &d->data, true);
	return !is_json(h->node->place) || json_check(d->data.data, len, &why) == 0;
}

static int document_unlocking(struct call *call, struct handle *h) {
	struct open_document *d = document_of(h);
	if (d->state != DOCUMENT_CHANGED || !is_whole(h))
		return 0;
	return document_sync(call, h, SYNC_FSYNC);
}

/* -- removing and replacing -------------------------------------------------------------------- */

/* Runs ST. *GONE: it has changed something. */
static int run_removal(struct call *call, const struct where *w, struct db_statement *st,
		       bool *gone) {
	int changed, rc = statement_run(call, st, w, NULL, 0, DB_REPEATABLE, &changed);
	if (rc == -ENOENT && strcmp(call->err.sqlstate, "23503") == 0)
		return call_error(call, ENOTEMPTY,
				  "rows of another table refer to this row: remove them first");
	if (rc != 0)
		return rc;
	/* the mark of a file that has no row yet */
	bool marked = plain_unlink(call->fs->plain, w->path) == 0;
	*gone = changed > 0 || marked;
	return 0;
}

static int remove_by(struct call *call, const struct where *w, struct db_statement *st) {
	bool gone = false, exists;
	int rc = run_removal(call, w, st, &gone);
	if (rc != 0 || gone)
		return rc;
	rc = statement_exists(call, w, &exists);
	if (rc == 0 && exists)
		return call_error(call, EPERM,
				  "a trigger or a policy has skipped it: it is still there");
	/* a trigger may have hidden the row instead of deleting it */
	return rc != 0 || w->place->route->kind == KIND_ROW ? rc : -ENOENT;
}

static int row_remove(struct call *call, const struct where *w) {
	return remove_by(call, w, (struct db_statement *)(uintptr_t)&w->place->sql.remove);
}

/* It may have had no rows, and its name stays in any case: so it is no matter whether any has
 * gone. */
static int table_remove(struct call *call, const struct where *w) {
	bool gone = false;
	return run_removal(call, w, (struct db_statement *)(uintptr_t)&w->place->sql.remove, &gone);
}

static int column_remove(struct call *call, const struct where *w) {
	return remove_by(call, w, (struct db_statement *)(uintptr_t)&w->place->sql.clear);
}

static int query_remove(struct call *call, const struct where *w) {
	(void)w;
	return call_error(call, EROFS, "this file is made by the database and cannot be removed");
}

/* In a directory that has a row, or is going to have one. */
static int column_may_create(struct call *call, const struct where *w, bool pending) {
	return pending || statement_parent_exists(call, w) ? 0 : -ENOENT;
}

static int document_store(struct call *call, const struct where *w, const struct where *from,
			  const char *data, size_t len) {
	int rc = store_whole(call, w, from, data, len, false);
	if (rc != 0 && from != NULL)
		return rc; /* it is kept: by the rows of its own name */
	if (rc != 0)
		return refuse_input(call->fs->stream, w->path, 0, data, len, rc, &call->err);
	plain_unmark(call->fs->plain, w->path);
	return 0;
}

static int query_store(struct call *call, const struct where *w, const struct where *from,
		       const char *data, size_t len) {
	(void)from;
	(void)data;
	(void)len;
	return query_remove(call, w);
}

static void document_close(struct fs *fs, struct handle *h) {
	struct open_document *d = document_of(h);
	scratch_release(d->large);
	buf_free(&d->data);
	body_close(fs, d->body);
	body_release(d->body);
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
	return is_dirty(d) ? &d->data : NULL;
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
	.remove = row_remove,
};

const struct kind column_kind = {
	.name = "column",
	WRITTEN_DOCUMENT,
	.name_stays = true,
	.to_cut = CHANGE_ANEW,
	.to_replace = CHANGE_ANEW,
	.removal = REMOVAL_VALUE,
	.may_create = column_may_create,
	.remove = column_remove,
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
	.remove = table_remove,
};

const struct kind query_kind = {
	.name = "query",
	.writable = false,
	DOCUMENT,
	.to_cut = CHANGE_ANEW,
	.to_replace = CHANGE_ANEW,
	.removal = REMOVAL_ROWS,
	.remove = query_remove,
	.store = query_store,
};
