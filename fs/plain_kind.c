/* Plain files as a kind: bytes on disk, in the plain store. */
#include "fs/ingest.h"
#include "fs/kind.h"
#include "fs/plain.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static int plain_kind_open(struct call *call, struct handle *h) {
	AUTO_FREE char *path = node_path(call->fs->nodes, h->node, NULL);
	bool writes = (h->flags & O_ACCMODE) != O_RDONLY;
	if (path == NULL)
		return -ENOMEM;
	if (node_is_unlinked(call->fs->nodes, h->node))
		return -ENOENT;
	int fd = plain_open(call->fs->plain, path, writes ? O_RDWR : O_RDONLY, 0);
	if (fd < 0)
		return fd;
	h->fd = fd;
	return writes && (h->flags & O_TRUNC) != 0 ? plain_truncate(call->fs->plain, fd, 0) : 0;
}

static int plain_kind_read(struct call *call, struct handle *h, size_t size, uint64_t offset,
			   struct buf *out) {
	(void)call;
	buf_reserve(out, size + 1);
	if (out->failed)
		return -ENOMEM;
	ssize_t n = pread(h->fd, out->data, size, (off_t)offset);
	if (n < 0)
		return -errno;
	out->len = (size_t)n;
	return 0;
}

/* The file was renamed onto an ingest route while it was open: the handle is one of the ingest file from the next change on. *RC: 0 or
 * -errno of that. */
static bool carry_on(struct call *call, struct handle *h, int *rc) {
	if (!is_ingest(h->node->place))
		return false;
	h->flags &= ~O_TRUNC; /* that was when it was opened */
	*rc = ingest_kind.open(call, h);
	if (*rc != 0)
		return true;
	close(h->fd);
	h->fd = -1;
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
	ssize_t n = plain_write(call->fs->plain, h->fd, data, size, offset, append);
	if (n == -ENOSPC && plain_used(call->fs->plain) + size <= call->fs->opt->plain_max)
		return call_error(call, ENOSPC,
				  "the disk of state_dir (%s) is full: make room there",
				  call->fs->opt->state_dir);
	if (n == -ENOSPC)
		return call_error(
			call, ENOSPC,
			"plain files take all of plain_max (%llu bytes): remove some, or mount with a larger one",
			(unsigned long long)call->fs->opt->plain_max);
	if (n < 0)
		return (int)n;
	return n == (ssize_t)size ? 0 : -ENOSPC;
}

static int plain_kind_truncate(struct call *call, struct handle *h, uint64_t size) {
	int rc;
	if (carry_on(call, h, &rc))
		return rc != 0 ? rc : ingest_kind.truncate(call, h, size);
	return plain_truncate(call->fs->plain, h->fd, size);
}

static int plain_kind_sync(struct call *call, struct handle *h, enum sync_reason reason) {
	(void)call;
	if (reason != SYNC_FSYNC || (h->flags & O_ACCMODE) == O_RDONLY)
		return 0;
	return fsync(h->fd) == 0 ? 0 : -errno;
}

const struct kind plain_kind = {
	.name = "file",
	.writable = true,
	.open = plain_kind_open,
	.read = plain_kind_read,
	.write = plain_kind_write,
	.truncate = plain_kind_truncate,
	.sync = plain_kind_sync,
};
