#include "util/below.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>

/* Walks the directories of PATH's first LEN bytes. Returns a descriptor for openat(), the
 * caller's, or -errno. */
static int walk(int dir, const char *path, size_t len, bool make) {
	int at = openat(dir, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	const char *end = path + len;
	char name[NAME_MAX + 1];
	while (at >= 0 && (path += strspn(path, "/")) < end) {
		size_t n = strcspn(path, "/");
		n = n < (size_t)(end - path) ? n : (size_t)(end - path);
		AUTO_FD int above = at;
		if (n > NAME_MAX)
			return -ENAMETOOLONG;
		memcpy(name, path, n);
		name[n] = '\0';
		if (strcmp(name, "..") == 0)
			return -EINVAL;
		if (make && mkdirat(above, name, 0777) != 0 && errno != EEXIST)
			return -errno;
		at = openat(above, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (at < 0)
			return -errno;
		path += n;
	}
	return at >= 0 ? at : -errno;
}

int below_open(int dir, const char *path, int flags, mode_t mode) {
	const char *slash = strrchr(path, '/'), *name = slash != NULL ? slash + 1 : path;
	AUTO_FD int at = walk(dir, path, (size_t)(name - path), false);
	if (at < 0)
		return at;
	if (strcmp(name, "..") == 0)
		return -EINVAL;
	int fd = openat(at, name, flags | O_NOFOLLOW | O_CLOEXEC, mode);
	return fd >= 0 ? fd : -errno;
}

int below_read(int dir, const char *path) {
	AUTO_FD int fd = below_open(dir, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
	struct stat st;
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) != 0 || fcntl(fd, F_SETFL, O_RDONLY) != 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	int out = fd;
	fd = -1;
	return out;
}

int below_stat(int dir, const char *path, struct stat *st) {
	const char *slash = strrchr(path, '/'), *name = slash != NULL ? slash + 1 : path;
	AUTO_FD int at = walk(dir, path, (size_t)(name - path), false);
	if (at < 0)
		return at;
	return fstatat(at, name, st, AT_SYMLINK_NOFOLLOW) == 0 ? 0 : -errno;
}

int below_make(int dir, const char *path, size_t len) {
	AUTO_FD int at = walk(dir, path, len, true);
	return at >= 0 ? 0 : at;
}
