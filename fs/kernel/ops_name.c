/* Making and removing names. */
#include "fs/inodes/access.h"
#include "fs/kernel/kinds.h"
#include "fs/names/lookup.h"
#include "fs/names/made.h"
#include "fs/names/moved.h"
#include "fs/kernel/ops.h"
#include "fs/bytes/plain.h"
#include "fs/names/removal.h"
#include "fs/kernel/reply.h"
#include "fs/names/statement.h"

#include <errno.h>
#include <string.h>

/* -- mkdir ------------------------------------------------------------------------------------- */

static int insert_row(struct call *call, const struct where *w) {
	struct place_sql *sql = (struct place_sql *)(uintptr_t)&w->place->sql;
	int changed, rc = statement_run(call, &sql->insert, w, NULL, 0, &changed);
	if (statement_was_ours(call)) {
		db_error_clear(&call->err);
		return 0;
	}
	rc = statement_other_key(call, rc, NULL);
	if (rc == -EFBIG) /* the value that is too long is the name */
		rc = -ENAMETOOLONG;
	if (rc == 0 && changed == 0 && statement_parent_exists(call, w))
		rc = statement_skipped(call, w->place, "the row of this directory");
	else if (rc == 0 && changed == 0)
		rc = call_error(call, ENOENT, "the parent row of this directory does not exist");
	return rc;
}

/* The directory NAME in DIR, with PATH. */
static int make_directory(struct call *call, struct node *dir, const char *name, const char *path,
			  mode_t mode) {
	AUTO_TARGET struct target target = { 0 };
	AUTO_WHERE struct where w = { 0 };
	int rc = 0;
	lookup_target(call->fs, dir, name, true, &target);
	if (target.place == NULL && !target.bad)
		lookup_target(call->fs, dir, name, false, &target);
	if (target.place != NULL && target.place->route != NULL)
		return call_error(
			call, EINVAL,
			"this name is a file in the layout: no directory can be made here");
	if (target.bad)
		return call_error(call, EINVAL,
				  "no key can have this name: %%XX stands only for what needs it, "
				  "and all is valid UTF-8");
	rc = access_check(call, target.place != NULL ? target.place : access_place(dir),
			  CHANGE_ANY);
	if (rc == 0 && target.place != NULL) {
		rc = node_where_child(call->fs->nodes, dir, name, target.place, target.values, &w);
		if (rc == 0)
			rc = statement_check_keys(call, &w);
	}
	if (rc != 0)
		return rc;
	if (target.place != NULL && target.place->owns_row && target.place->sql.insertable)
		return insert_row(call, &w);
	if (target.place != NULL && target.place->nkeys == 0)
		return 0; /* it was there from the start: see intent.h */
	/* a directory of plain files, or one whose row comes with its document */
	return plain_mkdir(call->fs->plain, path, mode & 07777);
}

/* Finds the directory that was just made. */
static int lookup_made(struct call *call, struct node *dir, const char *name, struct node **node) {
	AUTO_TARGET struct target target = { 0 };
	int rc = lookup_child(call, dir, name, true, node);
	if (rc != -ENOENT || call->err.sentence != NULL)
		return rc;
	lookup_target(call->fs, dir, name, true, &target);
	return target.place != NULL && target.place->owns_row
		       ? statement_skipped(call, target.place, "the row of this directory")
		       : rc;
}

void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode) {
	AUTO_CALL struct call call;
	struct node *node = NULL;
	call_begin(&call, req, 0);
	struct node *dir = node_of(call.fs, parent);
	AUTO_FREE char *path = node_path(call.fs->nodes, dir, name);
	int rc = dir->type == NODE_CONTROL ? -EPERM
		 : strlen(name) > 255      ? -ENAMETOOLONG
		 : path == NULL            ? -ENOMEM
		 : node_is_succeeded(dir)  ? -ESTALE
					   : make_directory(&call, dir, name, path, mode);
	if (rc == 0)
		moved_show_below(call.fs->moved, path);
	if (rc == 0)
		rc = lookup_made(&call, dir, name, &node);
	if (rc != 0) {
		reply_status(&call, dir, name, rc);
		return;
	}
	node_names_changed(call.fs->nodes, dir);
	node_set_maker(node, fuse_req_ctx(req)->pid);
	reply_entry(&call, node);
}

void op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name) {
	AUTO_CALL struct call call;
	AUTO_TARGET struct target known = { 0 };
	struct node *node = NULL;
	call_begin(&call, req, 0);
	struct node *dir = node_of(call.fs, parent);
	AUTO_FREE char *path = node_path(call.fs->nodes, dir, name);
	lookup_target(call.fs, dir, name, false, &known);
	int rc = path == NULL ? -ENOMEM : 0;
	if (dir->type == NODE_CONTROL || known.place != NULL)
		rc = -EPERM; /* a row is no link */
	if (rc == 0)
		rc = access_check(&call, access_place(dir), CHANGE_ANY);
	if (rc == 0)
		rc = plain_symlink(call.fs->plain, target, path);
	if (rc == 0)
		rc = lookup_child(&call, dir, name, true, &node);
	if (rc != 0) {
		reply_status(&call, dir, name, rc);
		return;
	}
	node_names_changed(call.fs->nodes, dir);
	reply_entry(&call, node);
}

/* -- unlink and rmdir -------------------------------------------------------------------------- */

void ops_prune(struct call *call, const struct node *node) {
	int levels;
	AUTO_FREE char *path = node_layout_path(call->fs->nodes, node, &levels);
	AUTO_BUF struct buf inside = { 0 };
	buf_printf(&inside, "%s/", path != NULL ? path : "");
	if (!inside.failed && levels > 0)
		plain_prune(call->fs->plain, inside.data, levels);
}

static int remove_plain_file(struct call *call, struct node *node, const char *path) {
	int rc = plain_unlink(call->fs->plain, path);
	if (rc == 0) {
		node_unlinked(call->fs->nodes, node);
		ops_prune(call, node);
	}
	return rc;
}

static int remove_file(struct call *call, struct node *node) {
	AUTO_WHERE struct where w = { 0 };
	AUTO_FREE char *path = node_path(call->fs->nodes, node, NULL);
	if (path == NULL)
		return -ENOMEM;
	if (node->type == NODE_PLAIN) {
		int rc = access_check(call, access_place(node), CHANGE_ANY);
		return rc != 0 ? rc : remove_plain_file(call, node, path);
	}
	bool gone = node_is_gone(call->fs->nodes, node);
	if (gone || removal_covers(call, node)) {
		node_unhash(call->fs->nodes, node);
		return gone ? removal_end(call, node, NULL, 0) : 0;
	}
	int rc = access_check(call, node->place, CHANGE_REMOVE);
	if (rc == 0)
		rc = node_where(call->fs->nodes, node, &w);
	const struct kind *kind = kind_of_node(node);
	if (rc == 0 && kind->removal != REMOVAL_NONE && !node_is_pending(call->fs->nodes, node))
		removal_begin(call);
	if (rc == 0)
		rc = kind->remove(call, &w);
	if (rc == -ENOENT && !statement_parent_exists(call, &w))
		rc = 0; /* the row that it belonged to is gone: so is the file */
	rc = removal_end(call, node, &w, rc);
	if (rc != 0)
		return rc;
	made_forget(call->fs->made, path);
	ops_prune(call, node);
	node_unhash(call->fs->nodes, node);
	return 0;
}

void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name) {
	AUTO_CALL struct call call;
	struct node *node = NULL;
	call_begin(&call, req, 0);
	struct node *dir = node_of(call.fs, parent);
	int rc;
	if (dir->type == NODE_CONTROL) {
		const struct kind *kind = kind_of_node(dir);
		rc = kind->unlink != NULL ? kind->unlink(&call, dir, name) : -EPERM;
	} else {
		/* what another process is removing is removed already */
		rc = removal_has(&call, dir, name) ? -ENOENT
						   : lookup_child(&call, dir, name, false, &node);
		if (rc == 0)
			rc = remove_file(&call, node);
		node_put(call.fs->nodes, node);
	}
	if (rc == 0)
		node_names_changed(call.fs->nodes, dir);
	atomic_fetch_add(&call.fs->count.removals, rc == 0);
	reply_status(&call, dir, name, rc);
}

static int remove_row_directory(struct call *call, const struct node *node) {
	AUTO_WHERE struct where w = { 0 };
	struct place_sql *sql = (struct place_sql *)(uintptr_t)&node->place->sql;
	bool exists;
	for (int i = 0; i < node->place->nchildren; i++) {
		const struct place *child = node->place->children[i];
		if (kind_of_place(child)->row && child->stays)
			return call_error(
				call, EPERM,
				"the layout refuses to remove this row (\"remove\": \"refuse\")");
	}
	int changed, rc = node_where(call->fs->nodes, node, &w);
	if (rc == 0)
		rc = statement_run(call, &sql->remove_empty, &w, NULL, 0, &changed);
	if (rc == -ENOENT) /* a foreign key that the layout does not know */
		return call_error(call, ENOTEMPTY,
				  "rows of another table refer to this row: remove them first");
	if (rc != 0 || changed > 0)
		return rc;
	rc = statement_exists(call, &w, &exists);
	return rc != 0 ? rc : exists ? -ENOTEMPTY : 0;
}

static int remove_directory(struct call *call, struct node *dir, const char *name,
			    struct node *node, const char *path) {
	if (node->type == NODE_CONTROL)
		return -EBUSY;
	int rc = access_check(call, access_place(node), CHANGE_ANY);
	if (rc != 0)
		return rc;
	/* what the plain store has below it must be gone first */
	rc = plain_rmdir(call->fs->plain, path);
	if (rc != 0 && rc != -ENOENT && rc != -ENOTDIR)
		return rc;
	if (node->type == NODE_PLAIN)
		return rc;
	if (node_is_gone(call->fs->nodes, node) || node_is_pending(call->fs->nodes, node))
		return 0;
	if (node->place->nkeys == 0 || (node->place->row_dir && !node->place->owns_row))
		return call_error(call, EBUSY,
				  "this directory is part of the layout: it is always there");
	if (node->place->row_dir)
		return remove_row_directory(call, node);
	/* it went with its last file, and `rm -r` removes what it has listed */
	return lookup_is_there(call, dir, name) ? -ENOTEMPTY : 0;
}

void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name) {
	AUTO_CALL struct call call;
	struct node *node = NULL;
	call_begin(&call, req, 0);
	struct node *dir = node_of(call.fs, parent);
	AUTO_FREE char *path = node_path(call.fs->nodes, dir, name);
	(void)removal_commit(&call);
	int rc = path != NULL ? lookup_child(&call, dir, name, false, &node) : -ENOMEM;
	if (rc == 0)
		rc = remove_directory(&call, dir, name, node, path);
	if (rc == 0) {
		moved_show_below(call.fs->moved, path);
		node_unhash(call.fs->nodes, node);
		node_names_changed(call.fs->nodes, dir);
	}
	node_put(call.fs->nodes, node);
	atomic_fetch_add(&call.fs->count.removals, rc == 0);
	reply_status(&call, dir, name, rc);
}
