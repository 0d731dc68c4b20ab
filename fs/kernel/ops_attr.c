/* Names that are looked up, and attributes. */
#include "fs/cache/coherence.h"
#include "fs/cache/invalidate.h"
#include "fs/inodes/access.h"
#include "fs/kernel/kinds.h"
#include "fs/kernel/ops.h"
#include "fs/kernel/reply.h"
#include "fs/list/prefetch.h"
#include "fs/bytes/plain.h"
#include "fs/names/intent.h"
#include "fs/names/lookup.h"
#include "fs/names/removal.h"
#include "fs/open/handle.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>

/* True if NAME is not there for the caller, who is just making it: see intent.h. */
static bool is_being_made(struct call *call, const struct node *dir, const char *name) {
	pid_t tid = call_thread(call);
	if (dir->type != NODE_PLACE || tid == 0)
		return false;
	bool made = node_maker(dir) == tid && place_literal(dir->place, name) != NULL;
	bool removed = intent_was_removed(call->fs->intents, tid, node_child_ino(dir, name));
	return (made || removed) && intent_of(tid, name) == INTENT_MAKE;
}

void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name) {
	AUTO_CALL struct call call;
	struct node *node = NULL;
	call_begin(&call, req, CALL_READS | CALL_SEEKS);
	struct node *dir = node_of(call.fs, parent);
	ops_count(&call.fs->count.lookups, 1);
	invalidate_serves(call.fs->invalidator, dir, true);
	unsigned long ticket = coherence_ticket(call.fs);
	double absent = 0;
	int rc = -ENOENT;
	if (!is_being_made(&call, dir, name)) {
		rc = lookup_child(&call, dir, name, true, &node);
		if (rc != 0 && reply_schema_changed(&call, dir))
			rc = lookup_child(&call, dir, name, true, &node);
		if (rc == -ENOENT && !call.hidden)
			absent = coherence_negative_timeout(call.fs, ticket, dir, name);
		if (rc == 0 && call.asked)
			prefetch_missed(&call, dir);
	}
	if (absent > 0)
		reply_absent(&call, absent);
	else if (rc != 0)
		reply_status(&call, dir, name, rc);
	else
		reply_entry(&call, node);
	invalidate_serves(call.fs->invalidator, dir, false);
}

void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup) {
	struct fs *fs = fuse_req_userdata(req);
	if (ino != FUSE_ROOT_ID)
		node_forget(fs->nodes, node_of(fs, ino), nlookup);
	fuse_reply_none(req);
}

void op_forget_multi(fuse_req_t req, size_t n, struct fuse_forget_data *forgets) {
	struct fs *fs = fuse_req_userdata(req);
	for (size_t i = 0; i < n; i++)
		if (forgets[i].ino != FUSE_ROOT_ID)
			node_forget(fs->nodes, node_of(fs, forgets[i].ino), forgets[i].nlookup);
	fuse_reply_none(req);
}

/* Puts into *NODE what a request for it is about, where it was succeeded by another: see
 * node_succeed(). *HELD is to be given back. The kernel does not say whether such a request came by
 * a path or by an open file; so while it is open, it is taken for the latter. */
static int find_successor(struct call *call, struct node **node, struct node **held) {
	struct nodes *nodes = call->fs->nodes;
	if (!node_is_succeeded(*node))
		return 0;
	if (!node_is_open(nodes, *node))
		return -ESTALE;
	*held = node_successor(nodes, *node);
	if (*held != NULL)
		*node = *held;
	return 0;
}

/* Replies with the attributes of NODE, which FI (may be NULL) has open, or with RC. */
static void answer(struct call *call, struct node *node, const struct fuse_file_info *fi, int rc) {
	if (rc != 0)
		reply_status(call, node, NULL, rc);
	else
		reply_attr(call, node, fi != NULL ? handle_of(fi) : NULL);
}

void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi) {
	AUTO_CALL struct call call;
	call_begin(&call, req, CALL_READS | CALL_SEEKS);
	struct node *node = node_of(call.fs, ino), *held = NULL;
	int rc = find_successor(&call, &node, &held);
	if (rc == 0)
		rc = lookup_glance(&call, node);
	answer(&call, node, fi, rc);
	node_put(call.fs->nodes, held);
}

/* Truncation by path: as if it were opened, truncated and closed. */
static int truncate_path(struct call *call, struct node *node, uint64_t size) {
	const struct kind *kind = kind_of_node(node);
	(void)removal_take_back(call, node->ino);
	if (node_expel_cached(call->fs->nodes, node))
		return -ESTALE;
	int rc = kind->before_truncate != NULL ? kind->before_truncate(call, node, NULL, size) : 0;
	if (rc != 0)
		return rc < 0 ? rc : 0;
	struct handle *h = handle_new(call->fs, node, kind, O_WRONLY);
	if (h == NULL)
		return -ENOMEM;
	rc = h->kind->open(call, h);
	if (rc == 0) {
		rc = h->kind->truncate(call, h, size);
		/* also after a failure: what was opened is closed */
		int closed = h->kind->sync(call, h, SYNC_RELEASE);
		rc = rc != 0 ? rc : closed;
	}
	handle_free(call->fs, h);
	return rc;
}

/* Through a handle: it is committed later. */
static int truncate_handle(struct call *call, struct handle *h, uint64_t size) {
	const struct kind *kind = h->kind;
	int rc = kind->before_truncate != NULL ? kind->before_truncate(call, h->node, h, size) : 0;
	if (rc != 0)
		return rc < 0 ? rc : 0;
	LOCK_SCOPE(&h->lock);
	rc = h->kind->truncate(call, h, size);
	handle_recount(call->fs, h);
	return rc;
}

/* Whether NODE may get SIZE; H as in truncate_handle(), or NULL. */
static int may_resize(struct call *call, struct node *node, const struct handle *h, uint64_t size) {
	enum change to_cut = kind_of_node(node)->to_cut;
	struct stat st;
	if (to_cut == CHANGE_ANY)
		return access_check(call, access_place(node), CHANGE_ANY);
	int rc = node_is_unsized(call->fs->nodes, node) ? lookup_refresh(call, node, false) : 0;
	if (rc != 0)
		return rc;
	node_stat(call->fs->nodes, node, &st);
	uint64_t now =
		h != NULL && h->kind->own_size ? atomic_load(&h->size) : (uint64_t)st.st_size;
	return access_check(call, node->place, size < now ? to_cut : CHANGE_ANY);
}

void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
		struct fuse_file_info *fi) {
	AUTO_CALL struct call call;
	call_begin(&call, req, 0);
	struct node *node = node_of(call.fs, ino), *held = NULL;
	struct handle *h = fi != NULL ? handle_of(fi) : NULL;
	bool sizes = (to_set & FUSE_SET_ATTR_SIZE) != 0, succeeded = sizes && h == NULL;
	int rc = succeeded && node_is_succeeded(node) ? -ESTALE
						      : find_successor(&call, &node, &held);
	if (rc == 0 && sizes)
		rc = may_resize(&call, node, h, (uint64_t)attr->st_size);
	if (rc == 0 && sizes)
		rc = h != NULL ? truncate_handle(&call, h, (uint64_t)attr->st_size)
			       : truncate_path(&call, node, (uint64_t)attr->st_size);
	/* owner, mode and times of a row are not files' own: set without effect, as on other file
	 * systems without them */
	const struct kind *kind = kind_of_node(node);
	if (rc == 0 && kind->set_attr != NULL)
		rc = kind->set_attr(&call, node, attr, to_set);
	answer(&call, node, fi, rc);
	node_put(call.fs->nodes, held);
}

void op_readlink(fuse_req_t req, fuse_ino_t ino) {
	AUTO_CALL struct call call;
	char target[PATH_MAX];
	call_begin(&call, req, 0);
	struct node *node = node_of(call.fs, ino);
	AUTO_FREE char *path = node_path(call.fs->nodes, node, NULL);
	int rc = path == NULL ? -ENOMEM
		 : node_is_succeeded(node)
			 ? -ESTALE
			 : plain_readlink(call.fs->plain, path, target, sizeof(target));
	if (rc != 0)
		reply_status(&call, node, NULL, rc);
	else
		fuse_reply_readlink(req, target);
}
