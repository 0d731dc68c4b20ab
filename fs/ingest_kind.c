/* Ingest files as a kind: what open, write and close mean. */
#include "fs/ingest.h"
#include "fs/kind.h"
#include "fs/store.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

/* The size that stat shows, and a new time. */
static void show(struct call *call, const struct handle *h) {
	struct attributes attr = h->node->attr;
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	attr.size = ingest_size(h->stream);
	attr.mtime_ns = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
	node_update(call->fs->nodes, h->node, &attr, atomic_load(&call->fs->epoch));
}

static int kind_open(struct call *call, struct handle *h) {
	struct nodes *nodes = call->fs->nodes;
	AUTO_FREE char *path = node_path(nodes, h->node, NULL);
	struct ingest_record rec = { 0 };
	int rc = path != NULL ? 0 : -ENOMEM;
	if (rc == 0)
		rc = ingest_file_find(call->fs->pool, h->node->place->ingest->dir,
				      strrchr(path, '/') + 1, 0, call_cancel(call), &rec,
				      &call->err);
	if (rc != 0)
		return rc;
	h->stream = ingest_stream_get(call->fs, h->node->place, path, &rec);
	if (h->stream == NULL) {
		ingest_record_free(&rec);
		return -ENOMEM;
	}
	if ((h->flags & O_ACCMODE) == O_RDONLY || (h->flags & O_TRUNC) == 0)
		return 0;
	LOCK_SCOPE(&h->stream->lock);
	rc = ingest_truncate(call, h->stream, 0);
	if (rc == 0)
		show(call, h);
	return rc;
}

static int kind_read(struct call *call, struct handle *h, size_t size, uint64_t offset,
		     struct buf *out) {
	LOCK_SCOPE(&h->stream->lock);
	return ingest_read(call, h->stream, offset, size, out);
}

static int kind_write(struct call *call, struct handle *h, const char *data, size_t size,
		      uint64_t offset) {
	LOCK_SCOPE(&h->stream->lock);
	if ((h->flags & O_APPEND) != 0) /* the kernel's offset may be behind */
		offset = ingest_size(h->stream);
	int rc = ingest_write(call, h->stream, data, size, offset);
	if (rc == 0)
		show(call, h);
	return rc;
}

static int kind_truncate(struct call *call, struct handle *h, uint64_t size) {
	LOCK_SCOPE(&h->stream->lock);
	int rc = ingest_truncate(call, h->stream, size);
	if (rc == 0)
		show(call, h);
	return rc;
}

/* The last close, and the bytes cannot be committed: they are kept. */
static void give_up(struct call *call, struct ingest_stream *s, int rc) {
	(void)store_rejected(call, &s->w, 0, s->pending.data, s->pending.len, rc);
	buf_resize(&s->pending, 0);
	s->replacing = s->copy_changed = false;
	ingest_stream_reset(s);
}

static int kind_sync(struct call *call, struct handle *h, enum sync_reason reason) {
	struct ingest_stream *s = h->stream;
	bool writes = (h->flags & O_ACCMODE) != O_RDONLY;
	int rc = 0;
	if (writes) {
		LOCK_SCOPE(&s->lock);
		/* FLUSH comes before the first write of `echo x >FILE`: the old content stays until there is a new one */
		bool waits = reason == SYNC_FLUSH && s->replacing && s->pending.len == 0;
		rc = waits ? 0 : ingest_commit(call, s, reason != SYNC_FSYNC);
		if (rc != 0 && reason == SYNC_RELEASE)
			give_up(call, s, rc);
		if (rc == 0 && strcmp(call->fs->opt->bad_lines, "report") != 0)
			rc = s->deferred;
		s->deferred = 0;
	}
	if (reason == SYNC_RELEASE)
		ingest_stream_put(call, move_ptr(h->stream));
	return rc;
}

/* -- removing -------------------------------------------------------------------------------------- */

static int kind_remove(struct call *call, const struct where *w) {
	return ingest_remove(call, w->place, w->path);
}

const struct kind ingest_kind = {
	.name = "file",
	.writable = true,
	.open = kind_open,
	.read = kind_read,
	.write = kind_write,
	.truncate = kind_truncate,
	.sync = kind_sync,
	.remove = kind_remove,
};
