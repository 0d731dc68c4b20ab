#include "fs/plain.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>

struct plain {
	int root; /* descriptor of the store's directory */
	char *dir;
	uint64_t most;
	atomic_ullong used;   /* bytes of content */
	pthread_mutex_t grow; /* held while a file's size changes, so that the account is exact */
	pthread_mutex_t
		names; /* held from the making of directories to that of what they are made for */
};

/* The path below the store's root. */
static const char *below(const char *path) {
	return path[1] != '\0' ? path + 1 : ".";
}

/* -- the account ------------------------------------------------------------------------------- */

static int reserve(struct plain *plain, uint64_t bytes) {
	if (atomic_fetch_add(&plain->used, bytes) + bytes <= plain->most)
		return 0;
	atomic_fetch_sub(&plain->used, bytes);
	return -ENOSPC;
}

void plain_uncharge(struct plain *plain, uint64_t bytes) {
	atomic_fetch_sub(&plain->used, bytes);
}

uint64_t plain_used(struct plain *plain) {
	return atomic_load(&plain->used);
}

/* -- opening and emptying the store ------------------------------------------------------------ */

static int mkdirs_at(int root, const char *path) {
	AUTO_FREE char *copy = strdup(path);
	if (copy == NULL)
		return -ENOMEM;
	for (char *p = strchr(copy, '/'); p != NULL; p = strchr(p + 1, '/')) {
		*p = '\0';
		if (p > copy && mkdirat(root, copy, 0755) != 0 && errno != EEXIST)
			return -errno;
		*p = '/';
	}
	return 0;
}

typedef void (*visit_fn)(struct plain *plain, int dir, const char *name, const struct stat *st);

/* Visits everything below DIR, children before their directory. */
static void walk(struct plain *plain, int dir, visit_fn visit) {
	DIR *d = fdopendir(dir);
	const struct dirent *e;
	if (d == NULL) {
		close(dir);
		return;
	}
	while ((e = readdir(d)) != NULL) {
		struct stat st;
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
		    fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
			continue;
		if (S_ISDIR(st.st_mode)) {
			int sub = openat(dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
			if (sub >= 0)
				walk(plain, sub, visit);
		}
		visit(plain, dirfd(d), e->d_name, &st);
	}
	closedir(d);
}

static void visit_count(struct plain *plain, int dir, const char *name, const struct stat *st) {
	(void)dir;
	(void)name;
	if (S_ISREG(st->st_mode))
		atomic_fetch_add(&plain->used, (uint64_t)st->st_size);
}

static void visit_remove(struct plain *plain, int dir, const char *name, const struct stat *st) {
	(void)plain;
	unlinkat(dir, name, S_ISDIR(st->st_mode) ? AT_REMOVEDIR : 0);
}

static void walk_all(struct plain *plain, visit_fn visit) {
	int fd = openat(plain->root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0)
		walk(plain, fd, visit);
}

int plain_new(const char *dir, uint64_t most, struct plain **out) {
	int rc = mkdirs_at(AT_FDCWD, dir);
	if (rc != 0)
		return rc;
	if (mkdir(dir, 0700) != 0 && errno != EEXIST)
		return -errno;
	AUTO_FD int root = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return -errno;
	struct plain *plain = calloc(1, sizeof(*plain));
	if (plain == NULL || (plain->dir = strdup(dir)) == NULL) {
		free(plain);
		return -ENOMEM;
	}
	plain->root = root;
	root = -1;
	plain->most = most;
	pthread_mutex_init(&plain->grow, NULL);
	pthread_mutex_init(&plain->names, NULL);
	walk_all(plain, visit_count);
	*out = plain;
	return 0;
}

void plain_free(struct plain *plain, bool empty) {
	if (plain == NULL)
		return;
	if (empty) {
		walk_all(plain, visit_remove);
		rmdir(plain->dir);
	}
	close(plain->root);
	pthread_mutex_destroy(&plain->grow);
	pthread_mutex_destroy(&plain->names);
	free(plain->dir);
	free(plain);
}

/* -- names ------------------------------------------------------------------------------------- */

int plain_stat(struct plain *plain, const char *path, struct stat *st) {
	return fstatat(plain->root, below(path), st, AT_SYMLINK_NOFOLLOW) == 0 ? 0 : -errno;
}

int plain_open(struct plain *plain, const char *path, int flags, mode_t mode) {
	LOCK_SCOPE(&plain->names);
	if ((flags & O_CREAT) != 0) {
		int rc = mkdirs_at(plain->root, below(path));
		if (rc != 0)
			return rc;
	}
	int fd = openat(plain->root, below(path), flags | O_CLOEXEC | O_NOFOLLOW, mode | 0600);
	return fd >= 0 ? fd : -errno;
}

int plain_mkdir(struct plain *plain, const char *path, mode_t mode) {
	LOCK_SCOPE(&plain->names);
	int rc = mkdirs_at(plain->root, below(path));
	if (rc != 0)
		return rc;
	return mkdirat(plain->root, below(path), mode | 0700) == 0 ? 0 : -errno;
}

int plain_rmdir(struct plain *plain, const char *path) {
	return unlinkat(plain->root, below(path), AT_REMOVEDIR) == 0 ? 0 : -errno;
}

int plain_unlink(struct plain *plain, const char *path, uint64_t *size) {
	struct stat st;
	int rc = plain_stat(plain, path, &st);
	if (rc != 0)
		return rc;
	*size = S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
	return unlinkat(plain->root, below(path), 0) == 0 ? 0 : -errno;
}

static void unmark_locked(struct plain *plain, const char *path) {
	uint64_t size = 0;
	struct stat st;
	if (plain_stat(plain, path, &st) != 0)
		return;
	if (S_ISDIR(st.st_mode))
		unlinkat(plain->root, below(path),
			 AT_REMOVEDIR); /* stays while plain files are in it */
	else if (plain_unlink(plain, path, &size) == 0)
		plain_uncharge(plain, size);
}

void plain_unmark_one(struct plain *plain, const char *path) {
	LOCK_SCOPE(&plain->names);
	unmark_locked(plain, path);
}

void plain_unmark(struct plain *plain, const char *path) {
	AUTO_FREE char *copy = strdup(path);
	char *slash = copy;
	LOCK_SCOPE(&plain->names);
	while (slash != NULL && copy[0] != '\0') {
		unmark_locked(plain, copy);
		slash = strrchr(copy, '/');
		if (slash != NULL)
			*slash = '\0';
	}
}

int plain_rename(struct plain *plain, const char *from, const char *to, unsigned flags) {
	struct stat old;
	LOCK_SCOPE(&plain->names);
	int rc = mkdirs_at(plain->root, below(to));
	bool replaces = rc == 0 && plain_stat(plain, to, &old) == 0 && S_ISREG(old.st_mode);
	if (rc != 0)
		return rc;
	if (renameat2(plain->root, below(from), plain->root, below(to), flags) != 0)
		return -errno;
	/* what was replaced is gone; if it is still open somewhere, it is counted too little, never too much */
	if (replaces)
		plain_uncharge(plain, (uint64_t)old.st_size);
	return 0;
}

int plain_symlink(struct plain *plain, const char *target, const char *path) {
	LOCK_SCOPE(&plain->names);
	int rc = mkdirs_at(plain->root, below(path));
	if (rc != 0)
		return rc;
	return symlinkat(target, plain->root, below(path)) == 0 ? 0 : -errno;
}

int plain_readlink(struct plain *plain, const char *path, char *out, size_t size) {
	ssize_t n = readlinkat(plain->root, below(path), out, size - 1);
	if (n < 0)
		return -errno;
	out[n] = '\0';
	return 0;
}

int plain_chmod(struct plain *plain, const char *path, mode_t mode) {
	return fchmodat(plain->root, below(path), mode, 0) == 0 ? 0 : -errno;
}

int plain_utimens(struct plain *plain, const char *path, const struct timespec times[2]) {
	return utimensat(plain->root, below(path), times, AT_SYMLINK_NOFOLLOW) == 0 ? 0 : -errno;
}

/* -- content ----------------------------------------------------------------------------------- */

/* Accounts for FD growing to END bytes. *OLD is its size before. */
static int charge_growth(struct plain *plain, int fd, uint64_t end, uint64_t *old) {
	struct stat st;
	if (fstat(fd, &st) != 0)
		return -errno;
	*old = (uint64_t)st.st_size;
	return end > *old ? reserve(plain, end - *old) : 0;
}

/* Gives back what was charged for growth from OLD to END and did not happen. */
static void settle_growth(struct plain *plain, int fd, uint64_t old, uint64_t end) {
	struct stat st;
	uint64_t charged = end > old ? end - old : 0;
	if (fstat(fd, &st) != 0)
		return;
	uint64_t grown = (uint64_t)st.st_size > old ? (uint64_t)st.st_size - old : 0;
	plain_uncharge(plain, charged - grown);
}

ssize_t plain_write(struct plain *plain, int fd, const char *data, size_t size, uint64_t offset,
		    bool append) {
	struct stat st;
	LOCK_SCOPE(&plain->grow);
	if (append) {
		if (fstat(fd, &st) != 0)
			return -errno;
		offset = (uint64_t)st.st_size;
	}
	uint64_t old, end = offset + size;
	int rc = charge_growth(plain, fd, end, &old);
	if (rc != 0)
		return rc;
	ssize_t n = pwrite(fd, data, size, (off_t)offset);
	int saved = errno;
	if (n != (ssize_t)size)
		settle_growth(plain, fd, old, end);
	return n >= 0 ? n : -saved;
}

int plain_truncate(struct plain *plain, int fd, uint64_t size) {
	uint64_t old;
	LOCK_SCOPE(&plain->grow);
	int rc = charge_growth(plain, fd, size, &old);
	if (rc != 0)
		return rc;
	if (ftruncate(fd, (off_t)size) != 0) {
		rc = -errno;
		settle_growth(plain, fd, old, size);
		return rc;
	}
	if (size < old)
		plain_uncharge(plain, old - size);
	return 0;
}

int plain_read_all(struct plain *plain, const char *path, uint64_t most, struct buf *out) {
	AUTO_FD int fd = plain_open(plain, path, O_RDONLY, 0);
	char chunk[65536];
	ssize_t n;
	if (fd < 0)
		return fd;
	while ((n = read(fd, chunk, sizeof(chunk))) > 0) {
		if (out->len + (size_t)n > most)
			return -EFBIG;
		buf_add(out, chunk, (size_t)n);
	}
	if (n < 0)
		return -errno;
	return out->failed ? -ENOMEM : 0;
}

int plain_list(struct plain *plain, const char *path, plain_each_fn each, void *arg) {
	int fd = openat(plain->root, below(path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	DIR *d = fdopendir(fd);
	if (d == NULL) {
		close(fd);
		return -ENOMEM;
	}
	const struct dirent *e;
	bool more = true;
	while (more && (e = readdir(d)) != NULL) {
		struct stat st;
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		if (fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
			more = each(e->d_name, &st, arg);
	}
	closedir(d);
	return 0;
}
