#include "fs/bytes/plain.h"

#include "fs/core/account.h"
#include "util/hash.h"
#include "util/mutex.h"
#include "util/private_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>

enum { LEFT_STRIPES = 64, OPEN_LISTS = 256 };

/* A file that programs have open: its bytes are on the account as long as they do, whether it still
 * has a name or not. */
struct open_file {
	struct open_file *next;
	ino_t ino;
	unsigned n; /* descriptors */
};

#define STORE "plain" /* the name of its directory */

struct plain {
	int root;                       /* descriptor of the store's directory */
	int place;                      /* the directory that it is in; borrowed */
	struct account account;         /* bytes of content */
	struct account *disk;           /* they are part of; borrowed */
	atomic_uint left[LEFT_STRIPES]; /* by name: see plain_left() */
	atomic_ulong asked;             /* see plain_ask() */
	/* held while a file's size changes, so that the account is exact, and from the making of
	 * directories to that of what they are made for; guards the next */
	struct mutex lock;
	struct open_file *open[OPEN_LISTS]; /* by st_ino */
};

/* -- paths -------------------------------------------------------------------------------------
 *
 * Directory by directory, and never through a symbolic link: a link that a user of the mount
 * makes is for the kernel to follow on his behalf, not for us with our rights. */

/* Opens the directory that PATH ("/a/b") is in; with MAKE, makes what is missing. *NAME is its last
 * component, "." for the root. Returns a descriptor, the caller's, or -errno. */
static int open_parent(const struct plain *plain, const char *path, bool make, const char **name) {
	int dir = openat(plain->root, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	const char *rest = path + 1;
	char part[256];
	for (const char *slash; dir >= 0 && (slash = strchr(rest, '/')) != NULL; rest = slash + 1) {
		size_t n = (size_t)(slash - rest);
		AUTO_FD int above = dir;
		if (n >= sizeof(part))
			return -ENAMETOOLONG;
		memcpy(part, rest, n);
		part[n] = '\0';
		if (make && mkdirat(above, part, 0755) != 0 && errno != EEXIST)
			return -errno;
		dir = openat(above, part, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (dir < 0)
			return errno == ELOOP ? -ENOTDIR : -errno;
	}
	*name = rest[0] != '\0' ? rest : ".";
	return dir >= 0 ? dir : -errno;
}

/* -- the account ------------------------------------------------------------------------------- */

static int reserve(struct plain *plain, uint64_t bytes) {
	if (!account_take(&plain->account, bytes))
		return -ENOSPC;
	if (account_take(plain->disk, bytes))
		return 0;
	account_give(&plain->account, bytes);
	return -ENOSPC;
}

/* For what is there already. */
static void charge(struct plain *plain, uint64_t bytes) {
	account_force(&plain->account, bytes);
	account_force(plain->disk, bytes);
}

static void uncharge(struct plain *plain, uint64_t bytes) {
	account_give(&plain->account, bytes);
	account_give(plain->disk, bytes);
}

uint64_t plain_used(struct plain *plain) {
	return account_used(&plain->account);
}

uint64_t plain_room(struct plain *plain) {
	uint64_t own = account_left(&plain->account), disk = account_left(plain->disk);
	return own < disk ? own : disk;
}

int plain_no_room(struct plain *plain, uint64_t bytes, struct db_error *err) {
	if (bytes > account_left(&plain->account))
		return db_error_set(
			err, ENOSPC,
			"plain files take all of plain_max (%llu bytes), removed ones that are still open, "
			"too: remove or close some, or mount with a larger one",
			(unsigned long long)plain->account.most);
	if (bytes > account_left(plain->disk))
		return db_error_set(
			err, ENOSPC,
			"local files take all of disk_max (%llu bytes): remove or close some, or mount with "
			"a larger one",
			(unsigned long long)plain->disk->most);
	return db_error_set(err, ENOSPC, "the disk of state_dir is full: make room there");
}

/* -- open files: with the lock held ------------------------------------------------------------ */

/* The place in its list of the file INO, or of the end of that list. */
static struct open_file **open_place(struct plain *plain, ino_t ino) {
	struct open_file **at = &plain->open[ino % OPEN_LISTS];
	while (*at != NULL && (*at)->ino != ino)
		at = &(*at)->next;
	return at;
}

static bool is_open(struct plain *plain, ino_t ino) {
	return *open_place(plain, ino) != NULL;
}

int plain_hold(struct plain *plain, int fd) {
	struct stat st;
	LOCK_SCOPE(&plain->lock);
	if (fstat(fd, &st) != 0)
		return -errno;
	struct open_file **at = open_place(plain, st.st_ino);
	if (*at == NULL) {
		*at = calloc(1, sizeof(**at));
		if (*at == NULL)
			return -ENOMEM;
		(*at)->ino = st.st_ino;
		if (st.st_nlink == 0) /* it has lost its name since FD was opened */
			charge(plain, (uint64_t)st.st_size);
	}
	(*at)->n++;
	return 0;
}

void plain_close(struct plain *plain, int fd) {
	struct stat st;
	LOCK_SCOPE(&plain->lock);
	struct open_file **at = fstat(fd, &st) == 0 ? open_place(plain, st.st_ino) : NULL;
	if (at != NULL && *at != NULL && --(*at)->n == 0) {
		struct open_file *last = *at;
		*at = last->next;
		free(last);
		if (st.st_nlink == 0)
			uncharge(plain, (uint64_t)st.st_size);
	}
	close(fd);
}

/* -- opening and emptying the store ------------------------------------------------------------ */

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
			int sub = openat(dirfd(d), e->d_name,
					 O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
			if (sub >= 0)
				walk(plain, sub, visit);
		}
		visit(plain, dirfd(d), e->d_name, &st);
	}
	closedir(d);
}

static void visit_count(struct plain *plain, int dir, const char *name, const struct stat *st) {
	if (S_ISREG(st->st_mode))
		charge(plain, (uint64_t)st->st_size);
}

static void visit_remove(struct plain *plain, int dir, const char *name, const struct stat *st) {
	unlinkat(dir, name, S_ISDIR(st->st_mode) ? AT_REMOVEDIR : 0);
}

static void walk_all(struct plain *plain, visit_fn visit) {
	int fd = openat(plain->root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0)
		walk(plain, fd, visit);
}

int plain_new(int place, uint64_t most, struct account *disk, struct plain **out, struct buf *why) {
	AUTO_FD int root = private_dir_below(place, STORE, why);
	if (root < 0)
		return root;
	struct plain *plain = calloc(1, sizeof(*plain));
	if (plain == NULL)
		return -ENOMEM;
	plain->place = place;
	plain->root = root;
	root = -1;
	plain->account.most = most;
	plain->disk = disk;
	mutex_init(&plain->lock, MUTEX_PLAIN);
	walk_all(plain, visit_count);
	*out = plain;
	return 0;
}

void plain_free(struct plain *plain, bool empty) {
	if (plain == NULL)
		return;
	if (empty) {
		walk_all(plain, visit_remove);
		(void)unlinkat(plain->place, STORE, AT_REMOVEDIR);
	}
	close(plain->root);
	for (int i = 0; i < OPEN_LISTS; i++)
		for (struct open_file *f = plain->open[i], *next; f != NULL; f = next) {
			next = f->next;
			free(f);
		}
	mutex_destroy(&plain->lock);
	free(plain);
}

/* -- names ------------------------------------------------------------------------------------- */

unsigned long plain_ask(struct plain *plain) {
	return atomic_fetch_add(&plain->asked, 1) + 1;
}

static atomic_uint *left_of(struct plain *plain, const char *name) {
	uint64_t hash = hash_add(HASH_BEGIN, name, strlen(name));
	return &plain->left[(hash >> 32) % LEFT_STRIPES];
}

unsigned plain_left(struct plain *plain, const char *name) {
	return atomic_load(left_of(plain, name));
}

/* What a file system knows an inode by beside its number, which the next file may get: the handle
 * that servers give to other machines, otherwise the time when it was made. */
static uint64_t number_of(int fd, const struct stat *st) {
	union {
		struct file_handle handle;
		char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
	} of = { .handle = { .handle_bytes = MAX_HANDLE_SZ } };
	uint64_t hash = hash_add(HASH_BEGIN, &st->st_ino, sizeof(st->st_ino));
	struct statx born;
	int mount;
	if (name_to_handle_at(fd, "", &of.handle, &mount, AT_EMPTY_PATH) == 0)
		hash = hash_add(hash, of.handle.f_handle, of.handle.handle_bytes);
	else if (statx(fd, "", AT_EMPTY_PATH, STATX_BTIME, &born) == 0 &&
		 (born.stx_mask & STATX_BTIME) != 0)
		hash = hash_add(hash, &born.stx_btime, sizeof(born.stx_btime));
	return hash ^ (hash >> 51); /* what counts are the low bits */
}

int plain_fstat(int fd, struct stat *st) {
	if (fstat(fd, st) != 0)
		return -errno;
	st->st_ino = number_of(fd, st);
	return 0;
}

int plain_stat(struct plain *plain, const char *path, struct stat *st) {
	const char *name;
	AUTO_FD int dir = open_parent(plain, path, false, &name);
	if (dir < 0)
		return dir;
	AUTO_FD int fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	return fd >= 0 ? plain_fstat(fd, st) : -errno;
}

int plain_open(struct plain *plain, const char *path, int flags, mode_t mode) {
	const char *name;
	LOCK_SCOPE(&plain->lock);
	AUTO_FD int dir = open_parent(plain, path, (flags & O_CREAT) != 0, &name);
	if (dir < 0)
		return dir;
	int fd = openat(dir, name, flags | O_CLOEXEC | O_NOFOLLOW, mode | 0600);
	return fd >= 0 ? fd : -errno;
}

int plain_mkdir(struct plain *plain, const char *path, mode_t mode) {
	const char *name;
	LOCK_SCOPE(&plain->lock);
	AUTO_FD int dir = open_parent(plain, path, true, &name);
	if (dir < 0)
		return dir;
	return mkdirat(dir, name, mode | 0700) == 0 ? 0 : -errno;
}

int plain_rmdir(struct plain *plain, const char *path) {
	const char *name;
	AUTO_FD int dir = open_parent(plain, path, false, &name);
	if (dir < 0)
		return dir;
	atomic_fetch_add(left_of(plain, name), 1);
	return unlinkat(dir, name, AT_REMOVEDIR) == 0 ? 0 : -errno;
}

/* Bytes that go from the account when the name in DIR goes: none while the file is open. Held: the
 * lock. */
static uint64_t content_of(struct plain *plain, int dir, const char *name) {
	struct stat st;
	bool file = fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode);
	return file && !is_open(plain, st.st_ino) ? (uint64_t)st.st_size : 0;
}

static int unlink_locked(struct plain *plain, const char *path) {
	const char *name;
	AUTO_FD int dir = open_parent(plain, path, false, &name);
	if (dir < 0)
		return dir;
	uint64_t size = content_of(plain, dir, name);
	atomic_fetch_add(left_of(plain, name), 1);
	if (unlinkat(dir, name, 0) != 0)
		return -errno;
	uncharge(plain, size);
	return 0;
}

int plain_unlink(struct plain *plain, const char *path) {
	LOCK_SCOPE(&plain->lock);
	return unlink_locked(plain, path);
}

/* Removes the directories above PATH that are empty, at most LEVELS of them (-1: all). */
static void prune_locked(struct plain *plain, char *path, int levels) {
	for (char *slash; levels != 0 && (slash = strrchr(path, '/')) != NULL && slash != path;
	     levels--) {
		*slash = '\0';
		if (plain_rmdir(plain, path) != 0)
			return;
	}
}

void plain_prune(struct plain *plain, const char *path, int levels) {
	AUTO_FREE char *copy = strdup(path);
	LOCK_SCOPE(&plain->lock);
	if (copy != NULL)
		prune_locked(plain, copy, levels);
}

void plain_unmark(struct plain *plain, const char *path) {
	AUTO_FREE char *copy = strdup(path);
	LOCK_SCOPE(&plain->lock);
	if (copy == NULL)
		return;
	if (unlink_locked(plain, copy) == -EISDIR)
		if (plain_rmdir(plain, copy) != 0)
			return;
	prune_locked(plain, copy, -1);
}

int plain_rename(struct plain *plain, const char *from, const char *to, unsigned flags) {
	const char *old, *new;
	LOCK_SCOPE(&plain->lock);
	AUTO_FD int from_dir = open_parent(plain, from, false, &old);
	AUTO_FD int to_dir = from_dir >= 0 ? open_parent(plain, to, true, &new) : from_dir;
	if (to_dir < 0) {
		int rc = to_dir;
		if (from_dir < 0) /* the same descriptor's error, not one to close twice */
			to_dir = -1;
		return rc;
	}
	uint64_t replaced = content_of(plain, to_dir, new);
	atomic_fetch_add(left_of(plain, old), 1);
	if (renameat2(from_dir, old, to_dir, new, flags) != 0)
		return -errno;
	uncharge(plain, replaced);
	return 0;
}

int plain_symlink(struct plain *plain, const char *target, const char *path) {
	const char *name;
	LOCK_SCOPE(&plain->lock);
	AUTO_FD int dir = open_parent(plain, path, true, &name);
	if (dir < 0)
		return dir;
	return symlinkat(target, dir, name) == 0 ? 0 : -errno;
}

int plain_readlink(struct plain *plain, const char *path, char *out, size_t size) {
	const char *name;
	AUTO_FD int dir = open_parent(plain, path, false, &name);
	ssize_t n = dir >= 0 ? readlinkat(dir, name, out, size - 1) : -1;
	if (n < 0)
		return dir < 0 ? dir : -errno;
	out[n] = '\0';
	return 0;
}

int plain_chmod(struct plain *plain, const char *path, mode_t mode) {
	AUTO_FD int fd = plain_open(plain, path, O_RDONLY | O_NONBLOCK, 0);
	if (fd < 0)
		return fd;
	struct stat st;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		mode = (mode & ~(mode_t)PLAIN_MARK) | (st.st_mode & PLAIN_MARK);
	return fchmod(fd, mode) == 0 ? 0 : -errno;
}

int plain_utimens(struct plain *plain, const char *path, const struct timespec times[2]) {
	const char *name;
	AUTO_FD int dir = open_parent(plain, path, false, &name);
	if (dir < 0)
		return dir;
	return utimensat(dir, name, times, AT_SYMLINK_NOFOLLOW) == 0 ? 0 : -errno;
}

/* -- content ----------------------------------------------------------------------------------- */

/* Returns the size that is on the account for a file, in bytes; one that has no name and is not
 * open for a program was taken off it, and grows for nothing. */
static uint64_t size_charged(struct plain *plain, const struct stat *st) {
	bool counts = st->st_nlink > 0 || is_open(plain, st->st_ino);
	return counts ? (uint64_t)st->st_size : UINT64_MAX;
}

/* Accounts for a file growing from OLD to END bytes. */
static int charge_growth(struct plain *plain, uint64_t old, uint64_t end) {
	return end > old ? reserve(plain, end - old) : 0;
}

/* Gives back what was charged for growth from OLD to END and did not happen. */
static void settle_growth(struct plain *plain, int fd, uint64_t old, uint64_t end) {
	struct stat st;
	uint64_t charged = end > old ? end - old : 0;
	if (charged == 0 || fstat(fd, &st) != 0)
		return;
	uint64_t grown = (uint64_t)st.st_size > old ? (uint64_t)st.st_size - old : 0;
	uncharge(plain, charged - grown);
}

ssize_t plain_write(struct plain *plain, int fd, const char *data, size_t size, uint64_t offset,
		    bool append) {
	struct stat st;
	LOCK_SCOPE(&plain->lock);
	if (fstat(fd, &st) != 0)
		return -errno;
	if (append)
		offset = (uint64_t)st.st_size;
	uint64_t old = size_charged(plain, &st), end = offset + size;
	int rc = charge_growth(plain, old, end);
	if (rc != 0)
		return rc;
	ssize_t n = pwrite(fd, data, size, (off_t)offset);
	int saved = errno;
	if (n != (ssize_t)size)
		settle_growth(plain, fd, old, end);
	return n >= 0 ? n : -saved;
}

int plain_truncate(struct plain *plain, int fd, uint64_t size) {
	struct stat st;
	LOCK_SCOPE(&plain->lock);
	if (fstat(fd, &st) != 0)
		return -errno;
	uint64_t old = size_charged(plain, &st);
	int rc = charge_growth(plain, old, size);
	if (rc != 0)
		return rc;
	if (ftruncate(fd, (off_t)size) != 0) {
		rc = -errno;
		settle_growth(plain, fd, old, size);
		return rc;
	}
	if (size < old && old != UINT64_MAX)
		uncharge(plain, old - size);
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

int plain_replace(struct plain *plain, const char *path, const char *data, size_t len) {
	static atomic_uint number;
	const char *name = strrchr(path, '/') + 1;
	AUTO_BUF struct buf beside = { 0 };
	buf_add(&beside, path, (size_t)(name - path));
	buf_printf(&beside, ".rowfs-new-%u", atomic_fetch_add(&number, 1));
	if (beside.failed)
		return -ENOMEM;
	AUTO_FD int fd = plain_open(plain, beside.data, O_RDWR | O_CREAT | O_TRUNC, 0644);
	int rc = fd < 0 ? fd : 0;
	ssize_t n = rc == 0 ? plain_write(plain, fd, data, len, 0, false) : 0;
	if (rc == 0 && n != (ssize_t)len)
		rc = n < 0 ? (int)n : -ENOSPC;
	if (rc == 0)
		rc = plain_rename(plain, beside.data, path, 0);
	if (rc != 0 && fd >= 0)
		(void)!plain_unlink(plain, beside.data);
	return rc;
}

int plain_list(struct plain *plain, const char *path, plain_each_fn each, void *arg) {
	const char *name;
	AUTO_FD int parent = open_parent(plain, path, false, &name);
	if (parent < 0)
		return parent;
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
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
