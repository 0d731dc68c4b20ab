#include "fs/bytes/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

struct scratch {
	struct fs *fs;
	atomic_uint references;
	const char *what;
	int fd;
	uint64_t size;
	uint64_t taken; /* of the account; never less than size */
};

int scratch_new(struct fs *fs, const char *what, struct scratch **out, struct db_error *err) {
	AUTO_FD int fd = openat(fs->state, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0)
		return db_error_set(err, errno, "%s cannot be made in state_dir (%s): %s", what,
				    fs->opt->state_dir, strerror(errno));
	struct scratch *file = calloc(1, sizeof(*file));
	if (file == NULL)
		return db_error_set(err, ENOMEM, "out of memory");
	*file = (struct scratch){ .fs = fs, .references = 1, .what = what, .fd = fd };
	fd = -1;
	*out = file;
	return 0;
}

struct scratch *scratch_hold(struct scratch *file) {
	atomic_fetch_add(&file->references, 1);
	return file;
}

void scratch_release(struct scratch *file) {
	if (file == NULL || atomic_fetch_sub(&file->references, 1) != 1)
		return;
	close(file->fd);
	account_give(&file->fs->disk, file->taken);
	free(file);
}

/* After a failure and after a cut: no more is taken than the file has. */
static void settle(struct scratch *file) {
	account_give(&file->fs->disk, file->taken - file->size);
	file->taken = file->size;
}

int scratch_reserve(struct scratch *file, uint64_t size, struct db_error *err) {
	struct account *disk = &file->fs->disk;
	if (size <= file->taken)
		return 0;
	if (!account_take(disk, size - file->taken))
		return db_error_set(
			err, ENOSPC,
			"%s finds no room: local files take %llu of the %llu bytes of disk_max, and this one "
			"needs %llu (close or remove others, or mount with a larger disk_max)",
			file->what, (unsigned long long)account_used(disk),
			(unsigned long long)disk->most, (unsigned long long)size);
	file->taken = size;
	return 0;
}

static int disk_error(const struct scratch *file, int errnum, struct db_error *err) {
	return db_error_set(err, errnum, "%s finds no room in state_dir (%s): %s", file->what,
			    file->fs->opt->state_dir, strerror(errnum));
}

int scratch_write(struct scratch *file, const char *data, size_t len, uint64_t offset,
		  struct db_error *err) {
	int rc = scratch_reserve(file, offset + len, err);
	size_t done = 0;
	while (rc == 0 && done < len) {
		ssize_t n = pwrite(file->fd, data + done, len - done, (off_t)(offset + done));
		if (n < 0 && errno != EINTR)
			rc = disk_error(file, errno, err);
		done += n > 0 ? (size_t)n : 0;
	}
	if (done > 0 && offset + done > file->size)
		file->size = offset + done;
	if (rc != 0)
		settle(file);
	return rc;
}

int scratch_resize(struct scratch *file, uint64_t size, struct db_error *err) {
	int rc = scratch_reserve(file, size, err);
	if (rc == 0 && ftruncate(file->fd, (off_t)size) != 0)
		rc = disk_error(file, errno, err);
	if (rc == 0)
		file->size = size;
	settle(file);
	return rc;
}

int scratch_read(const struct scratch *file, size_t size, uint64_t offset, struct buf *out) {
	return buf_pread(out, file->fd, size, offset);
}

uint64_t scratch_size(const struct scratch *file) {
	return file->size;
}

int scratch_fd(const struct scratch *file) {
	return file != NULL ? file->fd : -1;
}
