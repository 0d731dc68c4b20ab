#include "fs/fence.h"

#include "schema/stream.h"
#include "util/log.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { UUID_LEN = 36 };

struct fence {
	int fd;   /* of the notes: uuids, a line each */
	bool own; /* the lock is ours: no earlier daemon writes into it */
};

/* The whole lines of the notes as an array of SQL. One that was cut short was never used. */
static int read_notes(int fd, struct buf *array) {
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
	for (ssize_t at = 0; at + UUID_LEN < n; at += UUID_LEN + 1) {
		buf_putc(array, array->len == 0 ? '{' : ',');
		buf_add(array, text.data + at, UUID_LEN);
	}
	if (array->len > 0)
		buf_putc(array, '}');
	return array->failed ? -ENOMEM : 0;
}

static int remove_streams(struct db_pool *pool, int fd, struct db_error *err) {
	AUTO_BUF struct buf array = { 0 };
	int rc = read_notes(fd, &array);
	if (rc != 0)
		return db_error_set(err, -rc, "the notes of streams: %s", strerror(-rc));
	if (array.len > 0) {
		struct db_param param = { .data = array.data, .len = array.len, .oid = DB_TEXT };
		rc = db_query_text(pool, stream_fence_sql, &param, 1, DB_REPEATABLE, NULL, NULL,
				   err);
	}
	if (rc == -EROFS) { /* nothing can be committed there; another mount may find it writable */
		db_error_clear(err);
		return 0;
	}
	if (rc == 0 && ftruncate(fd, 0) != 0)
		rc = db_error_set(err, errno, "the notes of streams: %s", strerror(errno));
	return rc;
}

int fence_new(struct db_pool *pool, const char *path, struct fence **out, struct db_error *err) {
	AUTO_FD int fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (fd < 0)
		return db_error_set(err, errno, "%s: %s", path, strerror(errno));
	bool own = flock(fd, LOCK_EX | LOCK_NB) == 0;
	int rc = own ? remove_streams(pool, fd, err) : 0;
	if (rc != 0)
		return rc;
	struct fence *fence = malloc(sizeof(*fence));
	if (fence == NULL)
		return db_error_set(err, ENOMEM, "out of memory");
	*fence = (struct fence){ .fd = fd, .own = own };
	fd = -1;
	*out = fence;
	return 0;
}

int fence_note(struct fence *fence, const char *stream) {
	char line[UUID_LEN + 1];
	memcpy(line, stream, UUID_LEN);
	line[UUID_LEN] = '\n';
	ssize_t n = write(fence->fd, line, sizeof(line));
	if (n != (ssize_t)sizeof(line))
		return n < 0 ? -errno : -ENOSPC;
	return fdatasync(fence->fd) == 0 ? 0 : -errno;
}

void fence_free(struct fence *fence, bool all_done) {
	if (fence == NULL)
		return;
	if (fence->own && all_done && ftruncate(fence->fd, 0) != 0)
		log_warning("the notes of streams: %s", strerror(errno));
	close(fence->fd);
	free(fence);
}
