#include "util/private_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LINKS_MOST = 40 };

/* A path on its way to a descriptor. */
struct walk {
	int dir;             /* the components so far */
	struct buf path;     /* their names, for messages */
	char rest[PATH_MAX]; /* what is still to be opened */
	int links;           /* that were followed */
	struct buf *why;
};

static int fail(struct walk *w, int errnum, const char *what) {
	buf_printf(w->why, "%s: %s", w->path.data, what != NULL ? what : strerror(errnum));
	return -errnum;
}

static bool is_ours(uid_t uid) {
	return uid == 0 || uid == geteuid();
}

/* The last component is used itself, so the sticky bit does not help it. */
static int judge(struct walk *w, const struct stat *st, bool last) {
	if (!is_ours(st->st_uid))
		return fail(w, EPERM,
			    "it belongs to another user, who could put something else there");
	if (S_ISLNK(st->st_mode) || ((st->st_mode & S_ISVTX) != 0 && !last))
		return 0;
	bool others = (st->st_mode & S_IWOTH) != 0;
	bool group = (st->st_mode & S_IWGRP) != 0 && st->st_gid != getegid();
	return others || group ? fail(w, EPERM,
				      "others may write to it, and could put something else there")
			       : 0;
}

/* Takes the next component off REST, or returns false if there is none. */
static bool next_name(struct walk *w, char *name) {
	const char *at = w->rest + strspn(w->rest, "/");
	size_t len = strcspn(at, "/");
	if (len == 0)
		return false;
	memcpy(name, at, len);
	name[len] = '\0';
	memmove(w->rest, at + len, strlen(at + len) + 1);
	return true;
}

static bool is_last(const struct walk *w) {
	return w->rest[strspn(w->rest, "/")] == '\0';
}

static int start(struct walk *w, const char *dir) {
	int fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return fail(w, errno, NULL);
	if (w->dir >= 0)
		close(w->dir);
	w->dir = fd;
	return 0;
}

/* The link NAME is followed: its text goes before the rest. */
static int follow(struct walk *w, const char *name) {
	char text[PATH_MAX];
	ssize_t n = readlinkat(w->dir, name, text, sizeof(text) - 1);
	if (n < 0)
		return fail(w, errno, NULL);
	text[n] = '\0';
	size_t rest = strlen(w->rest);
	if (++w->links > LINKS_MOST || (size_t)n + 1 + rest >= sizeof(w->rest))
		return fail(w, ELOOP, NULL);
	memmove(w->rest + n + 1, w->rest, rest + 1);
	memcpy(w->rest, text, (size_t)n);
	w->rest[n] = '/';
	return text[0] == '/' ? start(w, "/") : 0;
}

/* Opens the component NAME, which is made if it is missing. */
static int step(struct walk *w, const char *name, bool last) {
	struct stat st;
	buf_printf(&w->path, "/%s", name);
	if (w->path.failed)
		return -ENOMEM;
	if (fstatat(w->dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
		if (errno != ENOENT)
			return fail(w, errno, NULL);
		if (mkdirat(w->dir, name, last ? 0700 : 0755) != 0 && errno != EEXIST)
			return fail(w, errno, NULL);
		if (fstatat(w->dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
			return fail(w, errno, NULL);
	}
	int rc = judge(w, &st, last && !S_ISLNK(st.st_mode));
	if (rc != 0)
		return rc;
	if (S_ISLNK(st.st_mode))
		return follow(w, name);
	int fd = openat(w->dir, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat opened;
	if (fd < 0)
		return fail(w, errno, NULL);
	close(w->dir);
	w->dir = fd;
	if (fstat(fd, &opened) != 0)
		return fail(w, errno, NULL);
	return opened.st_ino == st.st_ino && opened.st_dev == st.st_dev ? 0
									: judge(w, &opened, last);
}

/* What can be read, and files made in, of what was walked to. */
static int finish(struct walk *w) {
	int fd = openat(w->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd >= 0 ? fd : fail(w, errno, NULL);
}

int private_dir_open(const char *path, struct buf *why) {
	struct walk w = { .dir = -1, .why = why };
	char name[PATH_MAX];
	int rc = strlen(path) < sizeof(w.rest) ? start(&w, path[0] == '/' ? "/" : ".")
					       : -ENAMETOOLONG;
	if (rc == 0)
		memcpy(w.rest, path, strlen(path) + 1);
	while (rc == 0 && next_name(&w, name))
		rc = step(&w, name, is_last(&w));
	if (rc == 0)
		rc = finish(&w);
	if (w.dir >= 0)
		close(w.dir);
	buf_free(&w.path);
	return rc;
}

int private_dir_below(int dir, const char *name, struct buf *why) {
	struct walk w = { .dir = openat(dir, ".", O_PATH | O_DIRECTORY | O_CLOEXEC), .why = why };
	int rc = w.dir >= 0 ? step(&w, name, true) : -errno;
	struct stat st;
	if (rc == 0 && w.rest[0] != '\0')
		rc = fail(&w, ELOOP, "it is a link");
	if (rc == 0)
		rc = finish(&w);
	if (rc >= 0 && fstat(rc, &st) == 0 && st.st_uid != geteuid()) {
		close(rc);
		rc = fail(&w, EPERM, "it belongs to another user");
	}
	if (w.dir >= 0)
		close(w.dir);
	buf_free(&w.path);
	return rc;
}
