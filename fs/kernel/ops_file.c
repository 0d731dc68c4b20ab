#include "fs/kernel/ops.h"

#include "fs/inodes/access.h"
#include "fs/cache/coherence.h"
#include "fs/open/handle.h"
#include "fs/names/intent.h"
#include "fs/kernel/kinds.h"
#include "fs/names/lookup.h"
#include "fs/names/moved.h"
#include "fs/kernel/pages.h"
#include "fs/bytes/plain.h"
#include "fs/list/prefetch.h"
#include "fs/names/removal.h"
#include "fs/open/locks.h"
#include "fs/kernel/ops_lock.h"
#include "fs/kernel/reply.h"
#include "fs/core/report.h"
#include "util/rows_ioctl.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <limits.h>

static void count(atomic_ullong *counter, unsigned long long n) {
	atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static void op_init(void *userdata, struct fuse_conn_info *conn) {
	((struct fs *)userdata)->expires = (conn->capable & FUSE_CAP_EXPIRE_ONLY) != 0;
	/* always with attributes: `find` and `du` list a whole directory before they ask for the
	 * first file */
	conn->want |= conn->capable &
		      (FUSE_CAP_READDIRPLUS | FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_ATOMIC_O_TRUNC);
	conn->want &= ~(unsigned)FUSE_CAP_READDIRPLUS_AUTO;
	conn->time_gran = 1000; /* PostgreSQL's timestamps are microseconds */
}

/* -- names and attributes ---------------------------------------------------------------------- */

/* True if NAME is not there for the caller, who is just making it: see intent.h. */
static bool is_being_made(struct call *call, const struct node *dir, const char *name) {
	pid_t tid = call_thread(call);
	if (dir->type != NODE_PLACE || tid == 0)
		return false;
	bool made =
		node_maker(call->fs->nodes, dir) == tid && place_literal(dir->place, name) != NULL;
	bool removed = intent_was_removed(call->fs->intents, tid, node_child_ino(dir, name));
	return (made || removed) && intent_of(call->fs->intents, tid, name) == INTENT_MAKE;
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name) {
	AUTO_CALL struct call call;
	struct node *node = NULL;
	call_begin_seeking(&call, req, true);
	struct node *dir = node_of(call.fs, parent);
	count(&call.fs->count.lookups, 1);
	coherence_serves(call.fs, dir, true);
	unsigned long ticket = coherence_ticket(call.fs);
	double absent = 0;
	int rc = -ENOENT;
	if (!is_being_made(&call, dir, name)) {
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
	coherence_serves(call.fs, dir, false);
}

static void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup) {
	struct fs *fs = fuse_req_userdata(req);
	if (ino != FUSE_ROOT_ID)
		node_forget(fs->nodes, node_of(fs, ino), nlookup);
	fuse_reply_none(req);
}

static void op_forget_multi(fuse_req_t req, size_t n, struct fuse_forget_data *forgets) {
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

static void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi) {
	AUTO_CALL struct call call;
	call_begin_seeking(&call, req, true);
	struct node *node = node_of(call.fs, ino), *held = NULL;
	int rc = find_successor(&call, &node, &held);
	if (rc == 0)
		rc = lookup_glance(&call, node);
	if (rc != 0)
		reply_status(&call, node, NULL, rc);
	else
		reply_attr(&call, node, fi != NULL ? handle_of(fi) : NULL);
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
	handle_settle(call->fs, h);
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

static void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
		       struct fuse_file_info *fi) {
	AUTO_CALL struct call call;
	call_begin(&call, req, false);
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
	if (rc != 0)
		reply_status(&call, node, NULL, rc);
	else
		reply_attr(&call, node, fi != NULL ? handle_of(fi) : NULL);
	node_put(call.fs->nodes, held);
}

static void op_readlink(fuse_req_t req, fuse_ino_t ino) {
	AUTO_CALL struct call call;
	char target[PATH_MAX];
	call_begin(&call, req, false);
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

/* -- opening and creating ---------------------------------------------------------------------- */

static void set_open_flags(const struct handle *h, struct fuse_file_info *fi) {
	fi->fh = (uintptr_t)h;
	/* The node of a document is one version of it: its pages stay good as long as the kernel
	 * has the node. Nobody but the kernel writes plain files. Rows files are followed. */
	fi->direct_io = h->pages == PAGES_NONE;
	fi->keep_cache = h->pages != PAGES_NONE;
	fi->noflush = (h->flags & O_ACCMODE) == O_RDONLY;
}

/* What opening NODE to write does by itself, or leads to. Rows files see to their own truncation:
 * it is none if they have no lines. */
static enum change change_of_open(const struct node *node, int flags, bool created) {
	const struct kind *kind = kind_of_node(node);
	return (flags & O_TRUNC) != 0 && !created && kind->to_cut != CHANGE_ANY ? kind->to_cut
										: kind->to_write;
}

/* A handle on NODE, opened. */
static int open_node(struct call *call, struct node *node, int flags, bool created,
		     struct handle **out) {
	if (node_is_succeeded(node))
		return -ESTALE;
	if ((flags & O_ACCMODE) != O_RDONLY) {
		int rc = access_check(call, access_place(node),
				      change_of_open(node, flags, created));
		if (rc != 0)
			return rc;
		(void)removal_take_back(call, node->ino);
		if (node_expel_cached(call->fs->nodes, node))
			return -ESTALE;
	}
	struct handle *h = handle_new(call->fs, node, kind_of_node(node), flags);
	if (h == NULL)
		return -ENOMEM;
	h->created = created;
	count(&call->fs->count.opens, 1);
	int rc = h->kind->open(call, h);
	if (rc != -ESTALE)
		nodes_retry_over(call->fs->nodes, call_thread(call));
	if (rc != 0) {
		h->pages = PAGES_NONE;
		handle_free(call->fs, h);
		return rc;
	}
	if (h->pages == PAGES_VERSION && !node_open_cached(call->fs->nodes, node))
		h->pages = PAGES_NONE;
	if (h->pages == PAGES_VERSION)
		pages_give(call->fs, h);
	*out = h;
	return 0;
}

/* What older headers do not have. */
struct open_out {
	uint64_t fh;
	uint32_t open_flags;
	int32_t backing;
};
enum { OPEN_DIRECT_IO = 1 << 0, OPEN_NOFLUSH = 1 << 5, OPEN_PASSTHROUGH = 1 << 7 };

/* Replies that the kernel reads the file of H by itself. */
static void reply_passing(struct call *call, struct handle *h, const struct passing *passing) {
	bool reads = (h->flags & O_ACCMODE) == O_RDONLY;
	const struct open_out out = { .fh = (uintptr_t)h,
				      .open_flags = OPEN_PASSTHROUGH |
						    (passing->direct ? OPEN_DIRECT_IO : 0u) |
						    (reads ? OPEN_NOFLUSH : 0u),
				      .backing = passing->backing };
	reply_begin(call);
	if (fuse_reply_buf(call->req, (const char *)&out, sizeof(out)) != 0)
		handle_free(call->fs, h);
}

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi) {
	AUTO_CALL struct call call;
	struct handle *h = NULL;
	call_begin_seeking(&call, req, (fi->flags & O_ACCMODE) == O_RDONLY);
	struct node *node = node_of(call.fs, ino);
	struct passing passing;
	int rc = open_node(&call, node, fi->flags, false, &h);
	if (rc == 0 && h->kind->pass != NULL && (rc = h->kind->pass(&call, h, &passing)) < 0)
		handle_free(call.fs, h);
	if (rc < 0) {
		reply_status(&call, node, NULL, rc);
		return;
	}
	if (rc > 0) {
		reply_passing(&call, h, &passing);
		return;
	}
	set_open_flags(h, fi);
	reply_begin(&call);
	if (fuse_reply_open(req, fi) != 0)
		handle_free(call.fs, h);
}

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
static int open_again(struct call *call, struct node *dir, const char *name, int flags,
		      struct node **out, struct handle **h) {
	int rc = -ESTALE;
	for (int attempt = 0; rc == -ESTALE && attempt < 3; attempt++) {
		rc = create_again(call, dir, name, out);
		if (rc != 0)
			return rc;
		rc = open_node(call, *out, flags | O_TRUNC, false, h);
		if (rc != 0)
			node_forget(call->fs->nodes, *out, 1);
	}
	return rc == -ENOENT ? -EIO : rc;
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
		return call_error(call, EINVAL,
				  "no key can have this name (see docs/LAYOUT.md on how keys are "
				  "written: %% is %%25, and only valid UTF-8)");
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

static void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
		      struct fuse_file_info *fi) {
	AUTO_CALL struct call call;
	struct node *node = NULL;
	struct handle *h = NULL;
	call_begin_seeking(&call, req, false);
	struct node *dir = node_of(call.fs, parent);
	int rc = dir->type == NODE_CONTROL ? -EPERM : strlen(name) > 255 ? -ENAMETOOLONG : -ENOENT;
	if (rc == -ENOENT && removal_take_back(&call, node_child_ino(dir, name)))
		rc = open_again(&call, dir, name, fi->flags, &node, &h);
	if (rc == -ENOENT) {
		node = NULL;
		rc = create_file(&call, dir, name, mode, &node);
		if (rc == 0)
			rc = open_node(&call, node, fi->flags, true, &h);
		if (rc != 0 && node != NULL)
			node_forget(call.fs->nodes, node, 1);
	}
	if (rc == 0)
		intent_note_made(call.fs->intents, node->ino);
	if (rc != 0) {
		reply_status(&call, dir, name, rc);
		return;
	}
	struct fuse_entry_param e = reply_entry_param(call.fs, node);
	set_open_flags(h, fi);
	if (fuse_reply_create(req, &e, fi) != 0) {
		handle_free(call.fs, h);
		node_forget(call.fs->nodes, node, 1);
	}
}

/* -- open files -------------------------------------------------------------------------------- */

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		    struct fuse_file_info *fi) {
	AUTO_CALL struct call call;
	AUTO_BUF struct buf out = { 0 };
	struct handle *h = handle_of(fi);
	int rc;
	(void)ino;
	call_begin(&call, req, true);
	{
		LOCK_SCOPE(&h->lock);
		rc = h->kind->read(&call, h, size, (uint64_t)off, &out);
	}
	if (rc != 0) {
		reply_status(&call, h->node, NULL, rc);
		return;
	}
	count(&call.fs->count.reads, 1);
	count(&call.fs->count.bytes_read, out.len);
	reply_begin(&call);
	fuse_reply_buf(req, out.data, out.len);
}

static void op_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t off,
		     struct fuse_file_info *fi) {
	AUTO_CALL struct call call;
	struct handle *h = handle_of(fi);
	int rc;
	(void)ino;
	call_begin(&call, req, false);
	call.mapped = fi->writepage;
	rc = h->kind->before_write != NULL ? h->kind->before_write(&call, h) : 0;
	if (rc == 0) {
		LOCK_SCOPE(&h->lock);
		rc = h->kind->write(&call, h, data, size, (uint64_t)off);
		handle_settle(call.fs, h);
	}
	if (rc != 0) {
		reply_status(&call, h->node, NULL, rc);
		return;
	}
	count(&call.fs->count.writes, 1);
	count(&call.fs->count.bytes_written, size);
	fuse_reply_write(req, size);
}

/* flush and fsync: the errors are told here. */
static void sync_and_reply(fuse_req_t req, const struct fuse_file_info *fi,
			   enum sync_reason reason) {
	AUTO_CALL struct call call;
	struct handle *h = handle_of(fi);
	int rc;
	call_begin(&call, req, false);
	{
		LOCK_SCOPE(&h->lock);
		coherence_begin();
		rc = h->kind->sync(&call, h, reason);
		handle_settle(call.fs, h);
		if (rc == 0)
			rc = h->untold;
		h->untold = 0;
		if (h->unsettled)
			coherence_unsettled(call.fs);
	}
	/* who gets a lock next reads what was written; and whoever is told of the close finds
	 * the lock free */
	if (reason == SYNC_FLUSH)
		locks_flushed(call.fs->locks, h->lock_ino, fi->lock_owner, h);
	if (h->kind->synced != NULL)
		h->kind->synced(call.fs, h);
	coherence_settle(call.fs);
	reply_status(&call, h->node, NULL, rc);
}

static void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi) {
	struct fs *fs = fuse_req_userdata(req);
	(void)ino;
	sync_and_reply(req, fi, SYNC_FLUSH);
	ops_lock_grant(fs);
}

static void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi) {
	(void)ino;
	(void)datasync;
	sync_and_reply(req, fi, SYNC_FSYNC);
}

static void release(fuse_req_t req, struct handle *h) {
	AUTO_CALL struct call call;
	int rc;
	call_begin(&call, req, false);
	{
		LOCK_SCOPE(
			&h->lock); /* no other request has the handle any more, but the clock may */
		rc = h->kind->sync(&call, h, SYNC_RELEASE);
	}
	AUTO_FREE char *path = node_path(call.fs->nodes, h->node, NULL);
	(void)call_told(&call, path != NULL ? path : "?", rc);
	locks_released(call.fs->locks, h);
	handle_free(call.fs, h);
	fuse_reply_err(req, 0);
}

static void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi) {
	struct fs *fs = fuse_req_userdata(req);
	(void)ino;
	release(req, handle_of(fi));
	ops_lock_grant(fs);
}

static void op_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned cmd, void *arg,
		     struct fuse_file_info *fi, unsigned flags, const void *in, size_t in_len,
		     size_t out_len) {
	AUTO_CALL struct call call;
	struct rowfs_rows rows = { 0 };
	struct handle *h = handle_of(fi);
	(void)ino, (void)arg, (void)in, (void)in_len;
	call_begin(&call, req, true);
	if (cmd != ROWFS_IOC_ROWS || (flags & FUSE_IOCTL_DIR) != 0 || h->kind->count == NULL ||
	    out_len < sizeof(rows)) {
		fuse_reply_err(req, ENOTTY);
		return;
	}
	int rc = h->kind->count(&call, h, &rows);
	if (rc != 0)
		reply_status(&call, h->node, NULL, rc);
	else
		fuse_reply_ioctl(req, 0, &rows, sizeof(rows));
}

const struct fuse_lowlevel_ops rowfs_ops = {
	.init = op_init,
	.lookup = op_lookup,
	.forget = op_forget,
	.forget_multi = op_forget_multi,
	.getattr = op_getattr,
	.setattr = op_setattr,
	.readlink = op_readlink,
	.statfs = op_statfs,
	.open = op_open,
	.create = op_create,
	.read = op_read,
	.write = op_write,
	.flush = op_flush,
	.fsync = op_fsync,
	.getlk = op_getlk,
	.setlk = op_setlk,
	.flock = op_flock,
	.ioctl = op_ioctl,
	.release = op_release,
	.opendir = op_opendir,
	.readdir = op_readdir,
	.readdirplus = op_readdirplus,
	.fsyncdir = op_fsyncdir,
	.releasedir = op_releasedir,
	.mkdir = op_mkdir,
	.unlink = op_unlink,
	.rmdir = op_rmdir,
	.symlink = op_symlink,
	.rename = op_rename,
};
