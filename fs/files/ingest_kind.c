/* Ingest files as a kind: what open, write and close mean. */
#include "fs/files/ingest.h"
#include "fs/inodes/inode.h"
#include "fs/files/open_file.h"
#include "fs/stream/ingest_rows.h"
#include "fs/files/ingest_twin.h"
#include "fs/stream/refusals.h"
#include "fs/bytes/scratch.h"
#include "util/clock.h"
#include "util/mutex.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* The node of the file that H has open, wherever renames have taken it; to be given back with
 * node_put(). */
static struct node *node_now(struct nodes *nodes, const struct handle *h) {
	struct node *node = node_successor(nodes, h->node);
	if (node == NULL)
		node_hold(nodes, node = h->node);
	return node;
}

/* The size that stat shows, and a new time. */
static void show(struct call *call, const struct handle *h) {
	struct nodes *nodes = call->fs->nodes;
	struct node *node = node_now(nodes, h);
	struct attributes attr = node_attributes(nodes, node);
	attr.size = ingest_size(file_of(h)->stream);
	attr.mtime_ns = clock_now_ns();
	if (node->type == NODE_PLACE)
		node_update(nodes, node, &attr, atomic_load(&call->fs->epoch));
	node_put(nodes, node);
}

static bool writes(const struct handle *h) {
	return (h->flags & O_ACCMODE) != O_RDONLY;
}

/* One writer more. */
static int begin_to_write(struct call *call, struct handle *h) {
	struct ingest_stream *s = file_of(h)->stream;
	LOCK_SCOPE(&s->lock);
	int rc = (h->flags & O_TRUNC) != 0 ? ingest_truncate(call, s, 0) : 0;
	if (rc != 0)
		return rc;
	s->writers++;
	if ((h->flags & O_TRUNC) != 0)
		show(call, h);
	return 0;
}

/* The stream of the ingest file that NODE is. */
static int open_stream(struct call *call, const struct node *node, struct ingest_stream **out) {
	AUTO_FREE char *path = node_path(call->fs->nodes, node, NULL);
	return path != NULL ? ingest_stream_open(call, node->place, path, out) : -ENOMEM;
}

static int kind_open(struct call *call, struct handle *h) {
	struct nodes *nodes = call->fs->nodes;
	struct node *node = node_now(nodes, h);
	int rc = is_ingest(node->place) ? open_stream(call, node, &file_of(h)->stream) : -ESTALE;
	node_put(nodes, node);
	if (rc != 0 || !writes(h))
		return rc;
	rc = begin_to_write(call, h);
	if (rc != 0)
		ingest_stream_put(call, move_ptr(file_of(h)->stream));
	return rc;
}

static int kind_read(struct call *call, struct handle *h, size_t size, uint64_t offset,
		     struct buf *out) {
	struct stat st;
	node_stat(call->fs->nodes, h->node, &st);
	LOCK_SCOPE(&file_of(h)->stream->lock);
	int rc = ingest_catch_up(call, file_of(h)->stream, (uint64_t)st.st_size);
	return rc == 0 ? ingest_read(call, file_of(h)->stream, offset, size, out) : rc;
}

static int kind_write(struct call *call, struct handle *h, const char *data, size_t size,
		      uint64_t offset) {
	LOCK_SCOPE(&file_of(h)->stream->lock);
	/* the kernel's offset may be behind, but for pages of a map */
	if ((h->flags & O_APPEND) != 0 && !call->mapped)
		offset = ingest_size(file_of(h)->stream);
	int rc = ingest_write(call, file_of(h)->stream, data, size, offset);
	file_of(h)->wrote = true; /* its close tells how the file ends */
	file_of(h)->stream->changed = true;
	if (!call->mapped) /* a page ends anywhere, and the kernel brings it */
		author_wrote(&file_of(h)->stream->author, call_thread(call),
			     size > 0 && (file_of(h)->stream->in->gzip || data[size - 1] != '\n'));
	if (rc == 0)
		show(call, h);
	return rc;
}

static int kind_truncate(struct call *call, struct handle *h, uint64_t size) {
	LOCK_SCOPE(&file_of(h)->stream->lock);
	int rc = ingest_truncate(call, file_of(h)->stream, size);
	file_of(h)->stream->changed = true;
	if (rc == 0)
		show(call, h);
	return rc;
}

/* The changed copy goes to rejected/ as a whole. */
static void keep_copy(struct call *call, struct ingest_stream *s, int rc) {
	size_t size = (size_t)ingest_size(s);
	if (s->copy == NULL)
		return;
	void *bytes = s->copy_changed && size > 0
			      ? mmap(NULL, size, PROT_READ, MAP_PRIVATE, scratch_fd(s->copy), 0)
			      : MAP_FAILED;
	if (bytes != MAP_FAILED) {
		(void)refuse_input(call->fs->stream, s->w.path, 0, bytes, size, rc, &call->err);
		munmap(bytes, size);
	}
	scratch_release(move_ptr(s->copy));
	s->copy_changed = false;
}

/* The last writer's close, and the bytes cannot be committed: they are kept. */
static void give_up(struct call *call, struct ingest_stream *s, int rc) {
	keep_copy(call, s, rc);
	if (s->pending.len > 0)
		(void)refuse_input(call->fs->stream, s->w.path, 0, s->pending.data, s->pending.len,
				   rc, &call->err);
	buf_resize(&s->pending, 0);
	s->replacing = false;
	ingest_stream_reset(s);
	ingest_show(s);
}

/* A writer's flush tells of half a line at the end: more of it may come (a child process has closed
 * its copy of the descriptor), and it may have been the last close. Nothing is refused before the
 * last writer is gone. */
static int tell_tail(struct call *call, const struct handle *h) {
	const struct refusals *bad = &file_of(h)->stream->bad_tail;
	if (bad->n == 0 || !file_of(h)->wrote)
		return 0;
	return call_error(
		call, bad->all[0].errnum,
		"the last line (%llu) has no end and is no row as it stands: %s (write the rest of it; "
		"if nothing follows, it goes to rejected/ when the file is closed)",
		(unsigned long long)bad->all[0].number, bad->all[0].why);
}

/* A quoted field is open: its lines are no rows yet, though the bytes are committed. */
static int tell_open(struct call *call, const struct handle *h) {
	const struct ingest_stream *s = file_of(h)->stream;
	uint64_t line = s->parsing && file_of(h)->wrote ? parser_open_line(&s->parser) : 0;
	if (line == 0)
		return 0;
	return call_error(
		call, EINVAL,
		"line %llu: a quoted field that began here is not closed yet: the lines from it on become rows when its closing quote is "
		"written (the bytes are kept)",
		(unsigned long long)line);
}

/* What becomes of the last line: its writer's close makes it a row, and nothing else does. If
 * nobody has changed the file, it may be the piece that a killed writer has left. */
static enum ingest_tail tail_of(const struct call *call, struct ingest_stream *s,
				enum sync_reason reason, bool last) {
	bool unknown, accept = strcmp(call->fs->opt->last_line, "accept") == 0;
	if (reason == SYNC_FSYNC)
		return TAIL_SYNC;
	if (!s->changed && ingest_is_clean(s))
		return TAIL_WAITS;
	if (reason == SYNC_FLUSH && !author_flushes(&s->author, call_thread(call)))
		return TAIL_WAITS;
	accept = author_accepts(&s->author, call->req == NULL, accept, &unknown);
	if (unknown && last)
		atomic_fetch_add(&call->fs->count.writers_unknown, 1);
	return !accept ? TAIL_SYNC : last ? TAIL_LAST : TAIL_IF_WHOLE;
}

/* Nobody writes any more, and all bytes are committed. */
static void tell_piece(struct call *call, struct ingest_stream *s, enum ingest_tail tail) {
	enum author_state state = s->author.state;
	if (!s->parsing || state == AUTHOR_NONE)
		return;
	ingest_tell_cut(s, &s->parser);
	if (tail == TAIL_LAST || s->in->gzip || s->parser.text.len == 0)
		return;
	(void)call_error(
		call, EINVAL,
		"line %llu has no end: %s. It is no row, and waits for its rest (append it, or write the file anew)",
		(unsigned long long)s->parser.reader.records.lines + 1,
		state == AUTHOR_KILLED ? "the program that wrote it was ended by a signal"
		: state == AUTHOR_WRITES
			? "the mount ended while the program that wrote it had the file open"
			: "/proc does not tell how the program that wrote it ended");
	(void)call_told(call, s->w.path, -EINVAL);
}

static int sync_writer(struct call *call, struct handle *h, enum sync_reason reason) {
	struct ingest_stream *s = file_of(h)->stream;
	bool strict = strcmp(call->fs->opt->bad_lines, "report") != 0;
	LOCK_SCOPE(&s->lock);
	bool last = reason == SYNC_RELEASE && --s->writers == 0;
	/* FLUSH comes before the first write of `echo x >FILE`: the old content stays until there
	 * is a new one */
	if (reason == SYNC_FLUSH && s->replacing && s->pending.len == 0)
		return 0;
	enum ingest_tail tail = tail_of(call, s, reason, last);
	int rc = ingest_commit(call, s, tail);
	if (rc != 0 && last)
		give_up(call, s, rc);
	else if (last)
		tell_piece(call, s, tail);
	if (last) {
		s->author.state = AUTHOR_NONE;
		s->changed = false;
	}
	if (reason == SYNC_RELEASE && !last) /* nobody hears it: the next close tells */
		return rc;
	int refused = s->deferred;
	s->deferred = 0;
	if (rc == 0 && reason != SYNC_RELEASE)
		rc = tell_open(call, h);
	if (rc == 0 && strict)
		rc = refused != 0 ? refused : reason == SYNC_FLUSH ? tell_tail(call, h) : 0;
	return rc;
}

static int kind_sync(struct call *call, struct handle *h, enum sync_reason reason) {
	int rc = writes(h) ? sync_writer(call, h, reason) : 0;
	if (reason == SYNC_RELEASE)
		ingest_stream_put(call, move_ptr(file_of(h)->stream));
	return rc;
}

static int kind_count(struct call *call, struct handle *h, struct rowfs_rows *out) {
	struct ingest_stream *s = file_of(h)->stream;
	int64_t owner;
	{
		LOCK_SCOPE(&s->lock);
		owner = ingest_twin_owner(s);
	}
	return ingest_rows_count(call->fs->stream, h->node->place->ingest, s->id, owner,
				 call_cancel(call), out, &call->err);
}

/* -- removing ---------------------------------------------------------------------------------- */

static int kind_remove(struct call *call, const struct where *w) {
	return ingest_remove(call, w->place, w->path);
}

static int kind_refresh(struct call *call, struct node *node, bool force, bool glance) {
	struct found found = { 0 };
	if (!force && node_fresh(call->fs->nodes, node))
		return 0;
	int rc = ingest_refresh(call, inode_ingest_id(node->ino), &found);
	if (rc == 0)
		node_update(call->fs->nodes, node, &found.attr, found.epoch);
	return rc == -ENOENT ? 0 : rc;
}

static int kind_page(struct call *call, const struct place *place, const char *after, int limit,
		     PGresult **page) {
	return ingest_file_page(call->fs->pool, place->ingest->dir, after, limit, call_cancel(call),
				page, &call->err);
}

static bool kind_many(const struct place *place, enum change change) {
	return change == CHANGE_ANEW ? !place->route->keep_replaced : place->route->remove_rows;
}

static int kind_rename(struct call *call, const struct node *node, const struct place *place,
		       const char *name, const char *to) {
	return place != NULL ? ingest_rename(call, node, place, name)
			     : ingest_to_plain(call, node, to);
}

const struct kind ingest_kind = {
	.name = "file",
	.writable = true,
	.state = &open_file_type,
	.open = kind_open,
	.read = kind_read,
	.write = kind_write,
	.truncate = kind_truncate,
	.sync = kind_sync,
	.count = kind_count,
	.bytes = true,
	.ahead = true,
	.find = ingest_find,
	.to_cut = CHANGE_ANEW,
	.to_replace = CHANGE_ANEW,
	.many = kind_many,
	.create = ingest_create,
	.set_attr = ingest_set_attr,
	.rename = kind_rename,
	.adopt = ingest_from_plain,
	.refresh = kind_refresh,
	.page = kind_page,
	.listed = ingest_listed,
	.remove = kind_remove,
};
