#include "fs/kernel/reply.h"

#include "fs/admin/reload.h"
#include "fs/cache/coherence.h"
#include "fs/open/handle.h"

#include <errno.h>
#include <string.h>

struct node *node_of(struct fs *fs, fuse_ino_t ino) {
	return ino == FUSE_ROOT_ID ? nodes_root(fs->nodes) : (struct node *)(uintptr_t)ino;
}

void reply_begin(struct call *call) {
	/* takes the request's lock: an interrupt that is being told now has been told when this
	 * returns */
	if (call->interruptible)
		fuse_req_interrupt_func(call->req, NULL, NULL);
}

void reply_told(struct call *call, const struct node *node, const char *name, int rc) {
	if (rc == 0 || call->err.sentence == NULL)
		return;
	if (db_error_is_drift(&call->err))
		reload_hint(call->fs);
	AUTO_FREE char *path = node_path(call->fs->nodes, node, name);
	(void)call_told(call, path != NULL ? path : "?", rc);
}

bool reply_schema_changed(struct call *call, const struct node *node) {
	bool changed = false;
	if (!db_error_is_drift(&call->err) || node->type != NODE_PLACE)
		return false;
	if (call_may_wait(call->fs))
		changed = reload_look(call->fs, node->place->tree->snapshot);
	call_waited(call->fs);
	if (changed)
		db_error_clear(&call->err);
	return changed;
}

/* What a writer is told as EROFS: the view cannot be written. A reader meets the same SQLSTATE
 * where a materialized view is not filled, or an extension not loaded. */
static int errno_of_reader(const struct call *call, int rc) {
	return call->interruptible && strcmp(call->err.sqlstate, "55000") == 0 ? -EIO : rc;
}

void reply_status(struct call *call, const struct node *node, const char *name, int rc) {
	rc = errno_of_reader(call, rc);
	reply_told(call, node, name, rc);
	reply_begin(call);
	fuse_reply_err(call->req, -rc);
}

struct fuse_entry_param reply_entry_param(struct fs *fs, struct node *node) {
	struct fuse_entry_param e = { .ino = (fuse_ino_t)(uintptr_t)node, .generation = 1 };
	coherence_reply(fs, node, &e.attr, &e.attr_timeout, &e.entry_timeout);
	return e;
}

void reply_entry(struct call *call, struct node *node) {
	struct fuse_entry_param e = reply_entry_param(call->fs, node);
	if (call->renewed)
		e.entry_timeout = 0;
	reply_begin(call);
	if (fuse_reply_entry(call->req, &e) != 0)
		node_forget(call->fs->nodes, node, 1); /* the kernel did not take it */
}

void reply_absent(struct call *call, double seconds) {
	struct fuse_entry_param e = { .entry_timeout = seconds };
	reply_begin(call);
	fuse_reply_entry(call->req, &e);
}

void reply_attr(struct call *call, struct node *node, const struct handle *h) {
	struct stat st;
	double attributes, entry;
	coherence_reply(call->fs, node, &st, &attributes, &entry);
	if (h != NULL && handle_has_size(h))
		st.st_size = (off_t)atomic_load(&h->size);
	reply_begin(call);
	fuse_reply_attr(call->req, &st, attributes);
}
