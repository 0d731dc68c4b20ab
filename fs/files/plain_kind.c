/* Plain files as a kind: bytes on disk, in the plain store. */
#include "fs/files/plain_kind.h"

#include "fs/files/ingest.h"
#include "fs/files/open_file.h"
#include "fs/names/lookup.h"
#include "fs/bytes/plain.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* True if FD is the file that NODE was found to be. */
static bool is_same_file(struct nodes *nodes, const struct node *node, int fd) {
	struct stat st;
	return !node_is_unlinked(nodes, node) && plain_fstat(fd, &st) == 0 &&
	       lookup_plain_ino(&st) == node->ino;
}

/* The kernel opens the file that it has looked up. If another one has taken the name since, the
 * kernel is to look it up again; and if one comes in between a second time, that one is opened,
 * past the kernel's pages, which are of the first. */
static int plain_kind_open(struct call *call, struct handle *h) {
	struct open_file *f = file_of(h);
	struct nodes *nodes = call->fs->nodes;
	AUTO_FREE char *path = node_path(nodes, h->node, NULL);
	bool writes = (h->flags & O_ACCMODE) != O_RDONLY;
	if (path == NULL)
		return -ENOMEM;
	AUTO_FD int fd = plain_open(call->fs->plain, path, writes ? O_RDWR : O_RDONLY, 0);
	if (fd < 0 && fd != -ENOENT)
		return fd;
	bool same = fd >= 0 && is_same_file(nodes, h->node, fd);
	if (!same && node_may_retry(nodes, h->node, call_thread(call)))
		return -ESTALE;
	if (fd < 0)
		return fd;
	int rc = plain_hold(call->fs->plain, fd);
	if (rc != 0)
		return rc;
	struct stat st;
	if (!same && plain_fstat(fd, &st) == 0)
		h->lock_ino = lookup_plain_ino(&st);
	h->kpages = same ? KPAGES_FILE : KPAGES_NONE;
	f->fd = fd;
	f->open = true;
	fd = -1;
	return writes && (h->flags & O_TRUNC) != 0 ? plain_truncate(call->fs->plain, f->fd, 0) : 0;
}

static int plain_kind_read(struct call *call, struct handle *h, size_t size, uint64_t offset,
			   struct buf *out) {
	return buf_pread(out, file_of(h)->fd, size, offset);
}

static void plain_kind_close(struct fs *fs, struct handle *h) {
	struct open_file *f = file_of(h);
	if (atomic_exchange(&f->open, false))
		plain_close(fs->plain, f->fd);
}

static bool plain_kind_fstat(const struct handle *h, struct stat *st) {
	struct open_file *f = file_of(h);
	return f->open && fstat(f->fd, st) == 0;
}

/* The file was renamed onto a route while it was open. Onto an ingest route: the handle is one of
 * the ingest file from the next change on. Other routes have taken the content as it was. *RC: 0 or
 * -errno of that. */
static bool carry_on(struct call *call, struct handle *h, int *rc) {
	struct nodes *nodes = call->fs->nodes;
	if (!node_is_succeeded(h->node))
		return false;
	struct node *now = node_successor(nodes, h->node);
	bool ingest = now != NULL && is_ingest(now->place),
	     plain = now != NULL && now->type == NODE_PLAIN;
	node_put(nodes, now);
	if (plain)
		return false;
	if (!ingest) {
		*rc = call_error(call, ESTALE, HANDLE_GIVEN);
		return true;
	}
	h->flags &= ~O_TRUNC; /* that was when it was opened */
	*rc = ingest_kind.open(call, h);
	if (*rc != 0)
		return true;
	plain_kind_close(call->fs, h);
	h->lock_ino = h->node->ino;
	h->kind = &ingest_kind;
	return true;
}

static int plain_kind_write(struct call *call, struct handle *h, const char *data, size_t size,
			    uint64_t offset) {
	int rc;
	if (carry_on(call, h, &rc))
		return rc != 0 ? rc : ingest_kind.write(call, h, data, size, offset);
	/* pages of a mapping come by whichever handle the kernel takes, and belong where it says */
	bool append = (h->flags & O_APPEND) != 0 && !call->mapped;
	ssize_t n = plain_write(call->fs->plain, file_of(h)->fd, data, size, offset, append);
	if (n == -ENOSPC || (n >= 0 && n != (ssize_t)size))
		return plain_no_room(call->fs->plain, size, &call->err);
	return n < 0 ? (int)n : 0;
}

static int plain_kind_truncate(struct call *call, struct handle *h, uint64_t size) {
	int rc;
	if (carry_on(call, h, &rc))
		return rc != 0 ? rc : ingest_kind.truncate(call, h, size);
	rc = plain_truncate(call->fs->plain, file_of(h)->fd, size);
	return rc == -ENOSPC ? plain_no_room(call->fs->plain, size, &call->err) : rc;
}

static int plain_kind_sync(struct call *call, struct handle *h, enum sync_reason reason) {
	if (reason != SYNC_FSYNC || (h->flags & O_ACCMODE) == O_RDONLY)
		return 0;
	return fsync(file_of(h)->fd) == 0 ? 0 : -errno;
}

/* Of a directory of the plain store, too. */
static int plain_kind_refresh(struct call *call, struct node *node, bool force, bool glance) {
	AUTO_FREE char *path = node_path(call->fs->nodes, node, NULL);
	struct stat st;
	if (path == NULL)
		return -ENOMEM;
	unsigned long asked = plain_ask(call->fs->plain);
	if (node_fstat(call->fs->nodes, node, &st) ||
	    (node_has_name(call->fs->nodes, node) && plain_stat(call->fs->plain, path, &st) == 0 &&
	     lookup_plain_ino(&st) == node->ino)) {
		struct attributes attr = lookup_plain_attributes(&st);
		node_update(call->fs->nodes, node, &attr, asked);
	}
	return 0;
}

/* Of a directory of the plain store, too. */
static int plain_kind_set_attr(struct call *call, struct node *node, const struct stat *attr,
			       int to_set) {
	if (node_is_unlinked(call->fs->nodes, node))
		return lookup_refresh(call, node, true);
	struct plain *plain = call->fs->plain;
	AUTO_FREE char *path = node_path(call->fs->nodes, node, NULL);
	struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_nsec = UTIME_OMIT } };
	int rc = path != NULL ? 0 : -ENOMEM;
	if (rc == 0 && (to_set & FUSE_SET_ATTR_MODE) != 0)
		rc = plain_chmod(plain, path, attr->st_mode & 07777);
	if ((to_set & FUSE_SET_ATTR_ATIME_NOW) != 0)
		times[0].tv_nsec = UTIME_NOW;
	else if ((to_set & FUSE_SET_ATTR_ATIME) != 0)
		times[0] = attr->st_atim;
	if ((to_set & FUSE_SET_ATTR_MTIME_NOW) != 0)
		times[1].tv_nsec = UTIME_NOW;
	else if ((to_set & FUSE_SET_ATTR_MTIME) != 0)
		times[1] = attr->st_mtim;
	if (rc == 0 && (times[0].tv_nsec != UTIME_OMIT || times[1].tv_nsec != UTIME_OMIT))
		rc = plain_utimens(plain, path, times);
	return rc == 0 ? lookup_refresh(call, node, true) : rc;
}

const struct kind plain_kind = {
	.name = "file",
	.writable = true,
	.state = &open_file_type,
	.open = plain_kind_open,
	.read = plain_kind_read,
	.write = plain_kind_write,
	.truncate = plain_kind_truncate,
	.sync = plain_kind_sync,
	.close = plain_kind_close,
	.fstat = plain_kind_fstat,
	.bytes = true,
	.stored = true,
	.set_attr = plain_kind_set_attr,
	.refresh = plain_kind_refresh,
};
