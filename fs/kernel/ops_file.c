/* Open files: opening, reading, writing, closing. */
#include "fs/cache/coherence.h"
#include "fs/inodes/access.h"
#include "fs/kernel/kinds.h"
#include "fs/kernel/ops.h"
#include "fs/kernel/ops_lock.h"
#include "fs/kernel/kpages.h"
#include "fs/kernel/reply.h"
#include "fs/names/removal.h"
#include "fs/open/handle.h"
#include "fs/open/locks.h"
#include "util/log.h"
#include "util/mutex.h"
#include "util/rows_ioctl.h"

#include <errno.h>
#include <fcntl.h>

/* -- opening ----------------------------------------------------------------------------------- */

void ops_open_flags(const struct handle *h, struct fuse_file_info *fi) {
	fi->fh = (uintptr_t)h;
	/* The node of a document is one version of it: its pages stay good as long as the kernel
	 * has the node. Nobody but the kernel writes plain files. Rows files are followed. */
	fi->direct_io = h->kpages == KPAGES_NONE;
	fi->keep_cache = h->kpages != KPAGES_NONE;
	fi->noflush = (h->flags & O_ACCMODE) == O_RDONLY;
}

/* What opening NODE to write does by itself, or leads to. Rows files see to their own truncation:
 * it is none if they have no lines. */
static enum change change_of_open(const struct node *node, int flags, bool created) {
	const struct kind *kind = kind_of_node(node);
	return (flags & O_TRUNC) != 0 && !created && kind->to_cut != CHANGE_ANY ? kind->to_cut
										: kind->to_write;
}

/* Whether NODE may be opened to be written, as FLAGS say. */
static int may_write(struct call *call, struct node *node, int flags, bool created) {
	int rc = access_check(call, access_place(node), change_of_open(node, flags, created));
	if (rc != 0)
		return rc;
	(void)removal_take_back(call, node->ino);
	return node_expel_cached(call->fs->nodes, node) ? -ESTALE : 0;
}

struct handle *ops_open(struct call *call, struct node *node, int flags, bool created, int *rc) {
	*rc = node_is_succeeded(node)           ? -ESTALE
	      : (flags & O_ACCMODE) != O_RDONLY ? may_write(call, node, flags, created)
						: 0;
	if (*rc != 0)
		return NULL;
	struct handle *h = handle_new(call->fs, node, kind_of_node(node), flags);
	if (h == NULL) {
		*rc = -ENOMEM;
		return NULL;
	}
	h->created = created;
	ops_count(&call->fs->count.opens, 1);
	*rc = h->kind->open(call, h);
	if (*rc != -ESTALE)
		nodes_retry_over(call->fs->nodes, call_thread(call));
	if (*rc != 0) {
		h->kpages = KPAGES_NONE;
		handle_free(call->fs, h);
		return NULL;
	}
	if (h->kpages == KPAGES_VERSION && !node_open_cached(call->fs->nodes, node))
		h->kpages = KPAGES_NONE;
	if (h->kpages == KPAGES_VERSION)
		kpages_give(call->fs, h);
	return h;
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

void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi) {
	AUTO_CALL struct call call;
	unsigned reads = (fi->flags & O_ACCMODE) == O_RDONLY ? CALL_READS : 0;
	call_begin(&call, req, CALL_SEEKS | reads);
	struct node *node = node_of(call.fs, ino);
	struct passing passing;
	int rc;
	struct handle *h = ops_open(&call, node, fi->flags, false, &rc);
	if (h != NULL && h->kind->pass != NULL && (rc = h->kind->pass(&call, h, &passing)) < 0)
		handle_free(call.fs, move_ptr(h));
	if (h == NULL) {
		/* the kernel looks the name up anew, and opens what it finds */
		bool anew = rc != 0 && reply_schema_changed(&call, node);
		reply_status(&call, node, NULL, anew ? -ESTALE : rc);
	} else if (rc > 0) {
		reply_passing(&call, h, &passing);
	} else {
		ops_open_flags(h, fi);
		reply_begin(&call);
		if (fuse_reply_open(req, fi) != 0)
			handle_free(call.fs, h);
	}
}

/* -- open files -------------------------------------------------------------------------------- */

void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi) {
	AUTO_CALL struct call call;
	AUTO_BUF struct buf out = { 0 };
	struct handle *h = handle_of(fi);
	int rc;
	call_begin(&call, req, CALL_READS);
	call.mapped = fi->lock_owner == 0; /* a program's read says whose it is */
	{
		LOCK_SCOPE(&h->lock);
		rc = h->kind->read(&call, h, size, (uint64_t)off, &out);
	}
	if (rc != 0) {
		reply_status(&call, h->node, NULL, rc);
		return;
	}
	ops_count(&call.fs->count.reads, 1);
	ops_count(&call.fs->count.bytes_read, out.len);
	reply_begin(&call);
	fuse_reply_buf(req, out.data, out.len);
}

/* Pages of a file that was opened to read and write, mapped shared and changed: the kernel does not
 * ask before it maps. Where a file is what rows say, stale pages would undo what others have
 * changed; so they are refused, which msync() and close() tell, and the kernel drops them. */
static int refuse_pages(struct call *call, struct handle *h) {
	if (coherence_forget_then(call->fs, h->node, NULL, NULL) != 0)
		log_warning("out of memory: a map shows changes that were refused");
	return call_error(
		call, ENODEV,
		"a file that shows rows cannot be changed by a shared map: write to it");
}

void op_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t off,
	      struct fuse_file_info *fi) {
	AUTO_CALL struct call call;
	struct handle *h = handle_of(fi);
	int rc;
	call_begin(&call, req, 0);
	call.mapped = fi->writepage;
	rc = call.mapped && !h->kind->bytes  ? refuse_pages(&call, h)
	     : h->kind->before_write != NULL ? h->kind->before_write(&call, h)
					     : 0;
	if (rc == 0) {
		LOCK_SCOPE(&h->lock);
		rc = h->kind->write(&call, h, data, size, (uint64_t)off);
		handle_recount(call.fs, h);
	}
	if (rc != 0) {
		reply_status(&call, h->node, NULL, rc);
		return;
	}
	ops_count(&call.fs->count.writes, 1);
	ops_count(&call.fs->count.bytes_written, size);
	fuse_reply_write(req, size);
}

/* flush and fsync: the errors are told here. */
static void sync_and_reply(fuse_req_t req, const struct fuse_file_info *fi,
			   enum sync_reason reason) {
	AUTO_CALL struct call call;
	struct handle *h = handle_of(fi);
	int rc;
	call_begin(&call, req, 0);
	{
		LOCK_SCOPE(&h->lock);
		coherence_begin();
		rc = h->kind->sync(&call, h, reason);
		handle_recount(call.fs, h);
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
	coherence_await(call.fs);
	reply_status(&call, h->node, NULL, rc);
}

void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi) {
	struct fs *fs = fuse_req_userdata(req);
	sync_and_reply(req, fi, SYNC_FLUSH);
	ops_lock_answer(fs, false);
}

void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi) {
	sync_and_reply(req, fi, SYNC_FSYNC);
}

static void release(fuse_req_t req, struct handle *h) {
	AUTO_CALL struct call call;
	int rc;
	call_begin(&call, req, 0);
	{
		LOCK_SCOPE(
			&h->lock); /* no other request has the handle any more, but the clock may */
		rc = h->kind->sync(&call, h, SYNC_RELEASE);
	}
	reply_told(&call, h->node, NULL, rc);
	locks_released(call.fs->locks, h);
	handle_free(call.fs, h);
	fuse_reply_err(req, 0);
}

void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi) {
	struct fs *fs = fuse_req_userdata(req);
	release(req, handle_of(fi));
	ops_lock_answer(fs, false);
}

void op_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned cmd, void *arg, struct fuse_file_info *fi,
	      unsigned flags, const void *in, size_t in_len, size_t out_len) {
	AUTO_CALL struct call call;
	struct rowfs_rows rows = { 0 };
	struct handle *h = handle_of(fi);
	call_begin(&call, req, CALL_READS);
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
