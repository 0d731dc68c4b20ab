/* Streams: the bytes of open ingest files. */
#include "fs/ingest.h"
#include "fs/store.h"
#include "util/clock.h"
#include "util/log.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

enum {
	UNIT = 256 << 10,     /* bytes that are committed together */
	UNIT_GZIP = 64 << 10, /* of them, compressed: their text is much longer */
	GAP_MOST = 1 << 20,   /* bytes behind the end that are filled in memory */
	KEPT_MOST = 256,      /* streams without a handle */
	FRESH_US = 100 * US_PER_MS,
	AGAIN_MOST = 1000, /* times that another mount may come first */
};

/* -- the table ------------------------------------------------------------------------------------- */

struct ingest_streams {
	pthread_mutex_t lock; /* guards the list */
	struct ingest_stream *first;
	int kept; /* of them without a handle */
};

struct ingest_streams *ingest_streams_new(void) {
	struct ingest_streams *streams = calloc(1, sizeof(*streams));
	if (streams != NULL)
		pthread_mutex_init(&streams->lock, NULL);
	return streams;
}

static void stream_free(struct ingest_stream *s) {
	ingest_stream_reset(s);
	if (s->copy >= 0)
		close(s->copy);
	where_free(&s->w);
	ingest_record_free(&s->rec);
	buf_free(&s->pending);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

void ingest_streams_free(struct ingest_streams *streams) {
	if (streams == NULL)
		return;
	for (struct ingest_stream *s = streams->first, *next; s != NULL; s = next) {
		next = s->next;
		stream_free(s);
	}
	pthread_mutex_destroy(&streams->lock);
	free(streams);
}

void ingest_stream_reset(struct ingest_stream *s) {
	parser_free(&s->parser);
	s->parsing = false;
	s->parsed = 0;
	ingest_unit_clear(&s->unit);
	buf_free(&s->chunk);
	free(move_ptr(s->old_tail));
}

static bool is_clean(const struct ingest_stream *s) {
	return s->pending.len == 0 && !s->replacing && !s->copy_changed;
}

/* What was read of the record just now counts, unless this mount is ahead of it. Takes REC over. */
static void adopt(struct ingest_stream *s, struct ingest_record *rec) {
	if (strcmp(s->rec.op, rec->op) != 0) {
		if (s->copy >= 0 && !s->copy_changed) {
			close(s->copy);
			s->copy = -1;
		}
		ingest_stream_reset(s);
	}
	ingest_record_free(&s->rec);
	s->rec = *rec;
	memset(rec, 0, sizeof(*rec));
	s->seen_us = clock_us();
}

static struct ingest_stream *stream_new(struct fs *fs, const struct place *place, const char *path,
					struct ingest_record *rec) {
	struct ingest_stream *s = calloc(1, sizeof(*s));
	if (s == NULL || (s->w.path = strdup(path)) == NULL) {
		free(s);
		return NULL;
	}
	pthread_mutex_init(&s->lock, NULL);
	s->fs = fs;
	s->id = rec->id;
	s->w.place = place;
	s->in = place->ingest;
	s->copy = -1;
	adopt(s, rec);
	return s;
}

struct ingest_stream *ingest_stream_get(struct fs *fs, const struct place *place, const char *path,
					struct ingest_record *rec) {
	struct ingest_streams *streams = fs->ingest;
	struct ingest_stream *s;
	{
		LOCK_SCOPE(&streams->lock);
		for (s = streams->first; s != NULL && s->id != rec->id;)
			s = s->next;
		if (s == NULL && (s = stream_new(fs, place, path, rec)) != NULL) {
			s->next = streams->first;
			streams->first = s;
			s->handles = 1;
			return s;
		}
		if (s == NULL)
			return NULL;
		streams->kept -= s->handles == 0;
		s->handles++;
	}
	LOCK_SCOPE(&s->lock);
	if (is_clean(s)) {
		char *copy = strdup(path);
		if (copy != NULL) {
			free(s->w.path);
			s->w.path = copy;
			s->w.place = place;
			s->in = place->ingest;
		}
		adopt(s, rec);
	}
	ingest_record_free(rec);
	return s;
}

/* Takes S out of the list. */
static void unlink_locked(struct ingest_streams *streams, struct ingest_stream *s) {
	struct ingest_stream **p = &streams->first;
	while (*p != s)
		p = &(*p)->next;
	*p = s->next;
}

/* The stream without a handle that was used longest ago. */
static struct ingest_stream *oldest_locked(const struct ingest_streams *streams) {
	struct ingest_stream *oldest = NULL;
	for (struct ingest_stream *s = streams->first; s != NULL; s = s->next)
		if (s->handles == 0 && (oldest == NULL || s->used_us < oldest->used_us))
			oldest = s;
	return oldest;
}

static int delete_in_tx(struct db_conn *conn, void *arg, struct db_error *err) {
	const struct ingest_stream *s = arg;
	return ingest_file_delete(conn, s->rec.id, err);
}

void ingest_stream_put(struct call *call, struct ingest_stream *s) {
	struct ingest_streams *streams = s->fs->ingest;
	struct ingest_stream *done = NULL;
	{
		LOCK_SCOPE(&streams->lock);
		s->used_us = clock_us();
		if (--s->handles > 0)
			return;
		streams->kept++;
		done = s->unlinked || !is_clean(s) ? s
		       : streams->kept > KEPT_MOST ? oldest_locked(streams)
						   : NULL;
		if (done != NULL) {
			streams->kept--;
			unlink_locked(streams, done);
		}
	}
	if (done == NULL)
		return;
	if (done->unlinked && db_transaction(done->fs->pool, delete_in_tx, done, DB_REPEATABLE,
					     NULL, &call->err) != 0)
		log_warning("%s: the bytes of the removed file stay in rowfs.chunk: %s",
			    done->w.path, call->err.sentence);
	stream_free(done);
}

bool ingest_stream_size(struct fs *fs, int64_t id, uint64_t *size) {
	struct ingest_streams *streams = fs->ingest;
	struct ingest_stream *s;
	bool ahead = false;
	pthread_mutex_lock(&streams->lock);
	for (s = streams->first; s != NULL && s->id != id;)
		s = s->next;
	if (s != NULL && s->handles > 0)
		s->handles++;
	else
		s = NULL;
	pthread_mutex_unlock(&streams->lock);
	if (s == NULL)
		return false;
	{
		LOCK_SCOPE(&s->lock);
		ahead = !is_clean(s);
		*size = ingest_size(s);
	}
	struct call call = { .fs = fs };
	ingest_stream_put(&call, s);
	db_error_clear(&call.err);
	return ahead;
}

bool ingest_stream_unlink(struct fs *fs, int64_t id) {
	struct ingest_streams *streams = fs->ingest;
	LOCK_SCOPE(&streams->lock);
	for (struct ingest_stream *s = streams->first; s != NULL; s = s->next) {
		if (s->id != id)
			continue;
		s->unlinked = s->handles > 0;
		if (s->handles > 0)
			return true;
		streams->kept--;
		unlink_locked(streams, s);
		stream_free(s);
		return false;
	}
	return false;
}

/* -- reading --------------------------------------------------------------------------------------- */

static uint64_t committed(const struct ingest_stream *s) {
	return s->replacing ? 0 : s->rec.size;
}

uint64_t ingest_size(const struct ingest_stream *s) {
	struct stat st;
	if (s->copy >= 0 && fstat(s->copy, &st) == 0)
		return (uint64_t)st.st_size;
	return committed(s) + s->pending.len;
}

/* Reads the record anew if it is old. */
static int look_again(struct call *call, struct ingest_stream *s, bool force) {
	struct ingest_record rec = { 0 };
	if (!force && (!is_clean(s) || clock_us() < s->seen_us + FRESH_US))
		return 0;
	int rc = ingest_file_find(s->fs->pool, NULL, NULL, s->rec.id, call_cancel(call), &rec,
				  &call->err);
	if (rc == 0)
		adopt(s, &rec);
	return rc;
}

/* Committed bytes from OFFSET on: as many as the chunk has that holds it. */
static int read_chunk(struct call *call, struct ingest_stream *s, uint64_t offset, size_t size,
		      struct buf *out) {
	if (offset < s->chunk_at || offset >= s->chunk_at + s->chunk.len) {
		int rc = ingest_file_chunk(s->fs->pool, s->rec.id, offset, call_cancel(call),
					   &s->chunk, &s->chunk_at, &call->err);
		if (rc != 0 || s->chunk.len == 0) {
			buf_resize(&s->chunk, 0);
			return rc != 0 ? rc
				       : call_error(call, EIO,
						    "bytes at %llu are missing in rowfs.chunk",
						    (unsigned long long)offset);
		}
	}
	size_t at = (size_t)(offset - s->chunk_at), n = s->chunk.len - at;
	uint64_t left = committed(s) - offset;
	n = n < size ? n : size;
	buf_add(out, s->chunk.data + at, n < left ? n : (size_t)left);
	return out->failed ? -ENOMEM : 0;
}

static int read_copy(const struct ingest_stream *s, uint64_t offset, size_t size, struct buf *out) {
	buf_reserve(out, out->len + size + 1);
	if (out->failed)
		return -ENOMEM;
	ssize_t n = pread(s->copy, out->data + out->len, size, (off_t)offset);
	if (n < 0)
		return -errno;
	out->len += (size_t)n;
	return 0;
}

int ingest_read(struct call *call, struct ingest_stream *s, uint64_t offset, size_t size,
		struct buf *out) {
	int rc = 0;
	if (offset + size > ingest_size(s))
		rc = look_again(call, s, false);
	if (rc != 0 && rc != -ENOENT)
		return rc;
	if (s->copy >= 0)
		return read_copy(s, offset, size, out);
	uint64_t end = ingest_size(s), base = committed(s);
	rc = 0;
	end = offset + size < end ? offset + size : end;
	while (rc == 0 && offset < end) {
		size_t before = out->len;
		if (offset < base) {
			rc = read_chunk(call, s, offset, (size_t)(end - offset), out);
		} else {
			buf_add(out, s->pending.data + (offset - base), (size_t)(end - offset));
			rc = out->failed ? -ENOMEM : 0;
		}
		offset += out->len - before;
	}
	return rc;
}

/* -- committing ------------------------------------------------------------------------------------ */

/* Brings the parser to the end of the committed bytes. */
static int load_parser(struct call *call, struct ingest_stream *s) {
	AUTO_BUF struct buf bytes = { 0 };
	int rc = parser_begin(&s->parser, s->in, s->replacing ? NULL : s->rec.state);
	bool refused = s->parser.tail_refused;
	uint64_t end = committed(s);
	while (rc == 0 && s->parser.fed < end) {
		struct ingest_unit known = { 0 }; /* all of it was taken before */
		buf_resize(&bytes, 0);
		rc = read_chunk(call, s, s->parser.fed, UNIT, &bytes);
		if (rc == 0)
			rc = parser_feed(&s->parser, bytes.data, bytes.len, &known);
		ingest_unit_clear(&known);
	}
	s->parser.tail_refused = refused;
	s->parsing = rc == 0;
	if (rc != 0)
		parser_free(&s->parser);
	return rc;
}

/* Parses what is pending. */
static int parse(struct call *call, struct ingest_stream *s, bool tail) {
	int rc = s->parsing ? 0 : load_parser(call, s);
	if (rc != 0)
		return rc;
	if (s->parsed < s->pending.len && s->parser.tail_id != NULL && s->old_tail == NULL)
		s->old_tail = move_ptr(s->parser.tail_id);
	rc = parser_feed(&s->parser, s->pending.data + s->parsed, s->pending.len - s->parsed,
			 &s->unit);
	s->parsed = s->pending.len;
	if (rc == 0 && tail)
		rc = parser_tail(&s->parser, &s->unit);
	return rc;
}

/* A tail that was not committed is looked at again when more has come. */
static void drop_tail(struct ingest_stream *s) {
	if (!s->unit.has_tail)
		return;
	s->unit.has_tail = false;
	s->unit.n--;
	buf_resize(&s->unit.text, s->unit.lines[s->unit.n].at);
}

static void committed_now(struct call *call, struct ingest_stream *s) {
	int told = ingest_tell(call, s, &s->unit);
	if (s->deferred == 0)
		s->deferred = told;
	s->rec.size = committed(s) + s->pending.len;
	if (s->replacing)
		buf_resize(&s->chunk, 0);
	s->replacing = false;
	buf_resize(&s->pending, 0);
	s->parsed = 0;
	ingest_unit_clear(&s->unit);
	free(move_ptr(s->old_tail));
	s->seen_us = clock_us();
}

static int commit_pending(struct call *call, struct ingest_stream *s, bool tail) {
	bool moved = true;
	int rc = 0;
	for (int i = 0; rc == 0 && moved && i < AGAIN_MOST; i++) {
		rc = parse(call, s, tail);
		if (rc == 0 && s->pending.len == 0 && !s->replacing && s->unit.n == 0 &&
		    s->unit.nrefused == 0)
			return 0;
		if (rc == 0)
			rc = ingest_send(call, s, &moved);
		if (rc == 0 && moved) {
			rc = look_again(call, s, true);
			ingest_stream_reset(s);
		}
	}
	if (rc == 0 && !moved)
		committed_now(call, s);
	else
		drop_tail(s);
	return rc == 0 && moved
		       ? call_error(call, EBUSY, "other mounts write this file all the time")
		       : rc;
}

int ingest_replace(struct call *call, struct ingest_stream *s, int fd) {
	bool moved = true;
	int rc = 0;
	for (int i = 0; rc == 0 && moved && i < AGAIN_MOST; i++) {
		rc = ingest_send_file(call, s, fd, &moved);
		if (rc == 0)
			rc = look_again(call, s, true);
	}
	if (rc != 0)
		return rc;
	buf_resize(&s->pending, 0);
	s->replacing = false;
	ingest_stream_reset(s);
	return moved ? call_error(call, EBUSY, "other mounts write this file all the time") : 0;
}

int ingest_commit(struct call *call, struct ingest_stream *s, bool tail) {
	if (s->copy < 0)
		return commit_pending(call, s, tail);
	int rc = s->copy_changed ? ingest_replace(call, s, s->copy) : 0;
	if (rc == 0) {
		close(s->copy);
		s->copy = -1;
		s->copy_changed = false;
	}
	return rc;
}

/* -- changing -------------------------------------------------------------------------------------- */

/* Makes the local copy. */
static int make_copy(struct call *call, struct ingest_stream *s) {
	uint64_t size = ingest_size(s);
	if (s->copy >= 0)
		return 0;
	AUTO_FD int fd = open(s->fs->opt->state_dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0)
		return call_error(call, errno, "no copy of the file can be made in %s: %s",
				  s->fs->opt->state_dir, strerror(errno));
	for (uint64_t at = 0; at < size;) {
		AUTO_BUF struct buf bytes = { 0 };
		int rc = ingest_read(call, s, at, UNIT, &bytes);
		if (rc != 0)
			return rc;
		if (bytes.len == 0 ||
		    pwrite(fd, bytes.data, bytes.len, (off_t)at) != (ssize_t)bytes.len)
			return call_error(call, ENOSPC, "no room in %s for a copy of the file",
					  s->fs->opt->state_dir);
		at += bytes.len;
	}
	s->copy = fd;
	fd = -1;
	return 0;
}

static int write_copy(struct call *call, struct ingest_stream *s, const char *data, size_t size,
		      uint64_t offset) {
	int rc = make_copy(call, s);
	if (rc != 0)
		return rc;
	s->copy_changed = true;
	if (pwrite(s->copy, data, size, (off_t)offset) != (ssize_t)size)
		return call_error(call, ENOSPC, "no room in %s for a copy of the file",
				  s->fs->opt->state_dir);
	return 0;
}

static int append(struct call *call, struct ingest_stream *s, const char *data, size_t size,
		  size_t zeros) {
	size_t most = s->in->gzip ? UNIT_GZIP : UNIT;
	if (s->pending.len >= most) { /* an earlier commit failed */
		int rc = commit_pending(call, s, false);
		if (rc != 0)
			return rc;
	}
	buf_resize(&s->pending, s->pending.len + zeros);
	buf_add(&s->pending, data, size);
	if (s->pending.failed)
		return -ENOMEM;
	/* a failure is told by fsync, close or the next write: these bytes are taken */
	if (s->pending.len >= most && commit_pending(call, s, false) != 0)
		db_error_clear(&call->err);
	return 0;
}

/* How many of SIZE bytes at OFFSET are there already; -errno. */
static ssize_t same_bytes(struct call *call, struct ingest_stream *s, const char *data, size_t size,
			  uint64_t offset) {
	AUTO_BUF struct buf old = { 0 };
	int rc = ingest_read(call, s, offset, size, &old);
	if (rc != 0)
		return rc;
	return old.len == 0 || memcmp(old.data, data, old.len) == 0 ? (ssize_t)old.len : 0;
}

int ingest_write(struct call *call, struct ingest_stream *s, const char *data, size_t size,
		 uint64_t offset) {
	uint64_t end = ingest_size(s);
	if (s->copy >= 0 || offset > end + GAP_MOST)
		return write_copy(call, s, data, size, offset);
	if (offset >= end)
		return append(call, s, data, size, (size_t)(offset - end));
	/* who writes what is there already changes nothing */
	ssize_t same = same_bytes(call, s, data, size, offset);
	if (same < 0)
		return (int)same;
	if ((size_t)same == size)
		return 0;
	if (offset + (size_t)same == end)
		return append(call, s, data + same, size - (size_t)same, 0);
	return write_copy(call, s, data, size, offset);
}

int ingest_truncate(struct call *call, struct ingest_stream *s, uint64_t size) {
	uint64_t end = ingest_size(s);
	if (size == end)
		return 0;
	if (size > 0 && s->copy < 0 && size > end && size - end <= GAP_MOST)
		return append(call, s, NULL, 0, (size_t)(size - end));
	if (size > 0) {
		int rc = make_copy(call, s);
		s->copy_changed = rc == 0;
		return rc != 0 ? rc : ftruncate(s->copy, (off_t)size) == 0 ? 0 : -errno;
	}
	if (s->copy >= 0)
		close(s->copy);
	s->copy = -1;
	s->copy_changed = false;
	buf_resize(&s->pending, 0);
	ingest_stream_reset(s);
	s->replacing = s->rec.size > 0;
	return 0;
}
