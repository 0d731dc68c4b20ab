/* A program has got a lock on a document, and is to read what it says now: all that have an earlier
 * version open to read it go on to the present one. */
#include "db/field.h"
#include "fs/bytes/scratch.h"
#include "fs/docs/document_state.h"
#include "fs/docs/large.h"
#include "util/mutex.h"

#include <errno.h>
#include <string.h>

/* The document as it is now, for those who have opened an earlier version to read it. */
struct present {
	struct fs *fs;
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
		rc = document_query(call, &w, &res);
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
	d->body = NULL;
	if (p->body != NULL && body_open(p->fs, p->body)) { /* it is open: see read_present() */
		atomic_fetch_add(&p->body->references, 1);
		d->body = p->body;
	}
	atomic_store(&h->size, p->size);
	node_resized(p->fs->nodes, p->node, p->size);
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
	scratch_release(p->large);
	return rc == -ENOENT ? 0 : rc; /* it is gone: what was opened is the last of it */
}

int document_locked(struct call *call, struct handle *h) {
	struct open_document *d = document_of(h);
	struct present p = { .fs = call->fs, .node = h->node };
	bool has;
	{
		LOCK_SCOPE(&h->lock);
		if (d->state != DOCUMENT_READS)
			return document_load_again(call, h, true);
		p.size = atomic_load(&h->size);
		has = document_is_present(call, h, true, &p.seen_at, &p.seen_ticket);
	}
	int rc = has ? 0 : go_on(call, h, &p);
	if (rc != 0 || !h->node->written)
		return rc;
	/* also if another one makes it go on: its pages are perhaps not forgotten yet */
	LOCK_SCOPE(&showing);
	return LOCKED_OTHER_KPAGES;
}
