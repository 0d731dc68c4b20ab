/* Making files, anew or again. */
#include "fs/bytes/plain.h"
#include "fs/inodes/access.h"
#include "fs/kernel/kinds.h"
#include "fs/kernel/ops.h"
#include "fs/kernel/reply.h"
#include "fs/names/intent.h"
#include "fs/names/lookup.h"
#include "fs/names/moved.h"
#include "fs/names/removal.h"
#include "fs/open/handle.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

/* The file NAME in DIR, which the process has unlinked and makes anew: it is there as before, and
 * gets a node of its own, since others read the old one. -ENOENT if it is not there after all. */
static int create_again(struct call *call, struct node *dir, const char *name, struct node **out) {
	struct nodes *nodes = call->fs->nodes;
	struct node *old = node_get(nodes, dir, name);
	AUTO_FREE char *path = node_path(nodes, dir, name);
	if (old != NULL)
		node_unhash(nodes, old);
	node_put(nodes, old);
	if (path == NULL)
		return -ENOMEM;
	moved_show(call->fs->moved, path);
	return lookup_child(call, dir, name, true, out);
}

/* Opens it to be written anew. Whoever looks it up at the same time may read it; then once more,
 * since such a reader is kept away from the next node: see node_expel_cached(). */
static struct handle *open_again(struct call *call, struct node *dir, const char *name, int flags,
				 struct node **out, int *rc) {
	*rc = -ESTALE;
	for (int attempt = 0; *rc == -ESTALE && attempt < 3; attempt++) {
		*rc = create_again(call, dir, name, out);
		if (*rc != 0)
			return NULL;
		struct handle *h = ops_open(call, *out, flags | O_TRUNC, false, rc);
		if (h != NULL)
			return h;
		node_forget(call->fs->nodes, *out, 1);
	}
	if (*rc == -ENOENT)
		*rc = -EIO;
	return NULL;
}

/* Marks the file at PATH as created and finds it. */
static int create_file(struct call *call, struct node *dir, const char *name, mode_t mode,
		       struct node **out) {
	AUTO_FREE char *path = node_path(call->fs->nodes, dir, name);
	AUTO_TARGET struct target target = { 0 };
	if (path == NULL)
		return -ENOMEM;
	lookup_target(call->fs, dir, name, false, &target);
	int rc = lookup_check_target(call, dir, name, &target);
	if (rc != 0)
		return rc;
	if (target.bad)
		return call_error(
			call, EINVAL,
			"no key can have this name (see docs/LAYOUT.md on how keys are "
			"written: %%XX stands only for what needs it, and all is valid UTF-8)");
	if (target.place != NULL && target.place->route == NULL)
		return -EISDIR;
	int allowed = access_check(call, target.place != NULL ? target.place : access_place(dir),
				   CHANGE_ANY);
	if (allowed != 0)
		return allowed;
	const struct kind *kind = target.place != NULL ? kind_of_place(target.place) : NULL;
	if (kind != NULL) {
		AUTO_WHERE struct where w = { 0 };
		rc = node_where_child(call->fs->nodes, dir, name, target.place, target.values, &w);
		if (rc == 0 && !kind->writable)
			rc = call_error(call, EROFS,
					"this file is made by the database and cannot be written");
		if (rc == 0 && kind->may_create != NULL)
			rc = kind->may_create(call, &w, dir->pending);
		if (rc != 0)
			return rc;
	}
	if (kind != NULL && kind->create != NULL) {
		rc = kind->create(call, target.place, name, mode);
		return rc != 0 ? rc : lookup_child(call, dir, name, true, out);
	}
	mode = (mode & 07777 & ~(mode_t)PLAIN_MARK) | (target.place != NULL ? PLAIN_MARK : 0);
	int fd = plain_open(call->fs->plain, path, O_RDWR | O_CREAT, mode);
	if (fd < 0)
		return fd;
	close(fd);
	moved_show(call->fs->moved, path);
	return lookup_child(call, dir, name, true, out);
}

void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
	       struct fuse_file_info *fi) {
	AUTO_CALL struct call call;
	struct node *node = NULL;
	struct handle *h = NULL;
	call_begin(&call, req, CALL_SEEKS);
	struct node *dir = node_of(call.fs, parent);
	int rc = dir->type == NODE_CONTROL ? -EPERM : strlen(name) > 255 ? -ENAMETOOLONG : -ENOENT;
	if (rc == -ENOENT && removal_take_back(&call, node_child_ino(dir, name)))
		h = open_again(&call, dir, name, fi->flags, &node, &rc);
	if (rc == -ENOENT) {
		rc = create_file(&call, dir, name, mode, &node);
		if (rc == 0 && (h = ops_open(&call, node, fi->flags, true, &rc)) == NULL)
			node_forget(call.fs->nodes, node, 1);
	}
	if (h == NULL) {
		reply_status(&call, dir, name, rc);
		return;
	}
	node = h->node;
	intent_note_made(call.fs->intents, node->ino);
	node_names_changed(call.fs->nodes, dir);
	struct fuse_entry_param e = reply_entry_param(call.fs, node);
	if (call.renewed)
		e.entry_timeout = 0;
	ops_open_flags(h, fi);
	if (fuse_reply_create(req, &e, fi) != 0) {
		handle_free(call.fs, h);
		node_forget(call.fs->nodes, node, 1);
	}
}
