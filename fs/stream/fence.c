#include "fs/stream/fence.h"

#include "util/clock.h"
#include "util/log.h"
#include "util/mutex.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <uuid/uuid.h>

enum {
	UUID_LEN = 36,
	CLAIM_AGAIN_MS = 20,
	NOTES_ROOM = 64 << 10, /* bytes: some 1700 streams */
	STREAM_AGE_S = 3600,   /* after a day a stream is trimmed: see fs/admin/timer.c */
};

struct fence {
	/* Of the notes: uuids, a line each, and NUL bytes behind them; locked while this daemon
	 * lives. Its room is taken at the begin, so that a full disk does not stop what needs no
	 * other room there. */
	int fd;
	atomic_llong end; /* of the notes in it */
	atomic_bool doubt;
	struct mutex lock; /* guards what follows */
	char stream[37];   /* held by the operations of this mount; "" until it is opened */
	int64_t opened_us; /* clock_us() */
};

/* -- one daemon for a place -------------------------------------------------------------------- */

/* A record lock, since it tells who has it. It ends with the process, however it ends. */
static int lock_notes(int fd, pid_t *other) {
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	if (fcntl(fd, F_SETLK, &lock) == 0)
		return 0;
	if (errno != EAGAIN && errno != EACCES)
		return -errno;
	*other = fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK ? lock.l_pid : 0;
	return -EBUSY;
}

int fence_claim(int dir, int wait_ms, struct fence **out, pid_t *other) {
	const struct timespec pause = { .tv_nsec = CLAIM_AGAIN_MS * 1000000L };
	int64_t until = clock_us() + (int64_t)wait_ms * US_PER_MS;
	int rc;
	AUTO_FD int fd = openat(dir, "streams", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	while ((rc = lock_notes(fd, other)) == -EBUSY && clock_us() < until)
		nanosleep(&pause, NULL);
	if (rc != 0)
		return rc;
	struct fence *fence = calloc(1, sizeof(*fence));
	if (fence == NULL)
		return -ENOMEM;
	mutex_init(&fence->lock, MUTEX_FENCE);
	fence->fd = fd;
	fence->doubt = true; /* until fence_end_earlier() */
	fd = -1;
	*out = fence;
	return 0;
}

/* -- what an earlier one left ------------------------------------------------------------------ */

static bool is_uuid(const char *text, size_t len) {
	char copy[UUID_LEN + 1];
	uuid_t id;
	if (len != UUID_LEN)
		return false;
	memcpy(copy, text, len);
	copy[len] = '\0';
	return uuid_parse(copy, id) == 0;
}

/* The whole lines of the notes as an array of SQL. One that was cut short was never used. */
static int read_notes(struct fence *fence, struct buf *array) {
	int fd = fence->fd;
	AUTO_BUF struct buf text = { 0 };
	struct stat st;
	if (fstat(fd, &st) != 0)
		return -errno;
	buf_resize(&text, (size_t)st.st_size);
	if (text.failed)
		return -ENOMEM;
	ssize_t n = st.st_size > 0 ? pread(fd, text.data, text.len, 0) : 0;
	if (n < 0)
		return -errno;
	fence->end = n > 0 ? (long long)strnlen(text.data, (size_t)n) : 0;
	const char *line = text.data, *all = text.data + n, *end;
	for (; n > 0 && (end = memchr(line, '\n', (size_t)(all - line))) != NULL; line = end + 1) {
		if (!is_uuid(line, (size_t)(end - line)))
			continue;
		buf_putc(array, array->len == 0 ? '{' : ',');
		buf_add(array, line, UUID_LEN);
	}
	if (array->len > 0)
		buf_putc(array, '}');
	return array->failed ? -ENOMEM : 0;
}

/* Empties the notes and keeps their room; takes it where it is not there yet. */
static int forget_notes(struct fence *fence) {
	static const char nothing[4096];
	if (posix_fallocate(fence->fd, 0, NOTES_ROOM) != 0)
		log_warning(
			"state_dir has no room for the notes of streams: what is sent exactly once "
			"may fail until there is some");
	for (long long at = 0; at < fence->end; at += (long long)sizeof(nothing)) {
		ssize_t n = pwrite(fence->fd, nothing, sizeof(nothing), (off_t)at);
		if (n != (ssize_t)sizeof(nothing))
			return n < 0 ? -errno : -ENOSPC;
	}
	fence->end = 0;
	return fdatasync(fence->fd) == 0 ? 0 : -errno;
}

int fence_end_earlier(struct fence *fence, struct db_pool *pool, struct db_error *err) {
	AUTO_BUF struct buf array = { 0 };
	int rc = read_notes(fence, &array);
	if (rc != 0)
		return db_error_set(err, -rc, "the notes of streams: %s", strerror(-rc));
	if (array.len > 0) {
		struct db_param param = { .data = array.data, .len = array.len, .oid = DB_TEXT };
		rc = db_query_text(pool, ledger_fence_sql, &param, 1, DB_REPEATABLE, NULL, NULL,
				   err);
	}
	if (rc == -EROFS) { /* nothing can be committed there; another mount may find it writable */
		db_error_clear(err);
		return 0;
	}
	if (rc == 0 && (rc = forget_notes(fence)) != 0)
		rc = db_error_set(err, -rc, "the notes of streams: %s", strerror(-rc));
	fence->doubt = rc != 0;
	return rc;
}

/* Notes STREAM, lastingly. */
static int note(struct fence *fence, const char *stream, struct db_error *err) {
	char line[UUID_LEN + 3];
	/* a line of its own, though the one before was cut short */
	int len = snprintf(line, sizeof(line), "\n%.*s\n", (int)UUID_LEN, stream);
	long long at = atomic_fetch_add(&fence->end, len);
	ssize_t n = pwrite(fence->fd, line, (size_t)len, (off_t)at);
	if (n == len && fdatasync(fence->fd) == 0)
		return 0;
	int errnum = n >= 0 && n != len ? ENOSPC : errno;
	return db_error_set(err, errnum,
			    "a stream cannot be noted in state_dir, so nothing can be sent exactly "
			    "once: %s; make room there",
			    strerror(errnum));
}

int fence_open(struct fence *fence, struct db_pool *pool, const char *stream,
	       struct db_error *err) {
	struct db_param param = db_text(stream);
	int rc = note(fence, stream, err);
	return rc == 0 ? db_query_text(pool, ledger_open_sql, &param, 1, DB_REPEATABLE, NULL, NULL,
				       err)
		       : rc;
}

void fence_doubt(struct fence *fence) {
	fence->doubt = true;
}

void fence_free(struct fence *fence) {
	if (fence == NULL)
		return;
	if (!fence->doubt && ftruncate(fence->fd, 0) != 0)
		log_warning("the notes of streams: %s", strerror(errno));
	close(fence->fd);
	mutex_destroy(&fence->lock);
	free(fence);
}

/* -- operations -------------------------------------------------------------------------------- */

/* The lock is not held meanwhile: in an outage all would wait one after another. Of two that come
 * at once, the last one's is used from now on. */
static int open_stream(struct fence *fence, struct db_pool *pool, char stream[37],
		       struct db_error *err) {
	ledger_new_uuid(stream);
	int rc = fence_open(fence, pool, stream, err);
	if (rc != 0)
		return rc;
	LOCK_SCOPE(&fence->lock);
	memcpy(fence->stream, stream, sizeof(fence->stream));
	fence->opened_us = clock_us();
	return 0;
}

int fence_stream(struct fence *fence, struct db_pool *pool, char stream[37], struct db_error *err) {
	{
		LOCK_SCOPE(&fence->lock);
		bool old = clock_us() - fence->opened_us > (int64_t)STREAM_AGE_S * US_PER_S;
		snprintf(stream, sizeof(fence->stream), "%s", old ? "" : fence->stream);
	}
	return stream[0] != '\0' ? 0 : open_stream(fence, pool, stream, err);
}

void fence_leave(struct fence *fence, const char *stream) {
	fence_doubt(fence);
	LOCK_SCOPE(&fence->lock);
	if (strcmp(fence->stream, stream) == 0)
		fence->stream[0] = '\0';
}
