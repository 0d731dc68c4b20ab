/* Plain files: every name that no route knows, as a file on disk below the state directory, at the
 * same path as in the mount. It also holds a mark (an empty file with PLAIN_MARK, or a directory)
 * for what was created on a route and has no row yet. Emptied at a clean unmount; what a crash left
 * behind is taken up again by the next mount of the same place. Thread-safe. */
#pragma once

#include "db/error.h"
#include "util/buf.h"

#include <stdint.h>
#include <sys/stat.h>

struct account;
struct plain;

/* In the mode of a regular file of the store: it is a mark. Plain files never have it. */
enum { PLAIN_MARK = S_ISVTX };

/* Opens the store in the directory `plain` of PLACE, this mount's directory in state_dir, which
 * must stay open; at most MOST bytes of file content, which are taken from DISK, too. Returns 0, or
 * -errno with WHY. */
MUST_USE int plain_new(int place, uint64_t most, struct account *disk, struct plain **out,
		       struct buf *why);
/* Frees; with EMPTY, removes the store's content. */
void plain_free(struct plain *plain, bool empty);

/* PATH is the mount's path ("/a/b"). All return 0 (or a descriptor) or -errno. Parent directories
 * in the store are made as needed by those that create. */
/* Numbers a question about what is on the disk, before it is asked: of two answers, the one to the
 * later question is true. */
unsigned long plain_ask(struct plain *plain);
/* ST has the disk's attributes, but for st_ino: a number of which the low 51 bits are the file's as
 * long as it lives, wherever it is renamed to, and no later file's. */
MUST_USE int plain_stat(struct plain *plain, const char *path, struct stat *st);
/* The same of FD, of plain_open(). */
MUST_USE int plain_fstat(int fd, struct stat *st);
MUST_USE int plain_open(struct plain *plain, const char *path, int flags, mode_t mode);
MUST_USE int plain_mkdir(struct plain *plain, const char *path, mode_t mode);
MUST_USE int plain_rmdir(struct plain *plain, const char *path);
MUST_USE int plain_unlink(struct plain *plain, const char *path);
MUST_USE int plain_rename(struct plain *plain, const char *from, const char *to, unsigned flags);
MUST_USE int plain_symlink(struct plain *plain, const char *target, const char *path);
MUST_USE int plain_readlink(struct plain *plain, const char *path, char *out, size_t size);
MUST_USE int plain_chmod(struct plain *plain, const char *path, mode_t mode);
MUST_USE int plain_utimens(struct plain *plain, const char *path, const struct timespec times[2]);

/* A number that grows before a file of that name, in whatever directory, leaves its place in the
 * store: by plain_unlink(), plain_unmark() or plain_rename(). For look-ups that have found a name
 * neither here nor where it has gone. */
unsigned plain_left(struct plain *plain, const char *name);

/* Removes the mark at PATH, if there is one, and the directories above it that are empty: the row
 * is there now. */
void plain_unmark(struct plain *plain, const char *path);

/* Removes the directories above PATH that are empty, at most LEVELS of them. */
void plain_prune(struct plain *plain, const char *path, int levels);

/* Changes of an open file, within the limit: -ENOSPC beyond. */
MUST_USE ssize_t plain_write(struct plain *plain, int fd, const char *data, size_t size,
			     uint64_t offset, bool append);
MUST_USE int plain_truncate(struct plain *plain, int fd, uint64_t size);
uint64_t plain_used(struct plain *plain);
/* Bytes that plain files may still grow by. */
uint64_t plain_room(struct plain *plain);
/* Fills ERR with why there is no room for BYTES more. Returns -ENOSPC. */
int plain_no_room(struct plain *plain, uint64_t bytes, struct db_error *err);

/* A program has FD, of plain_open(), open: the file is on the account until plain_close(), also
 * when its name is gone. Returns 0 or -errno; FD stays the caller's after an error. */
MUST_USE int plain_hold(struct plain *plain, int fd);
void plain_close(struct plain *plain, int fd);

/* The whole content; -EFBIG beyond MOST bytes. */
MUST_USE int plain_read_all(struct plain *plain, const char *path, uint64_t most, struct buf *out);

/* Makes PATH a file of these LEN bytes: whoever reads it meets the old ones or the new ones, and a
 * failure leaves the old ones. */
MUST_USE int plain_replace(struct plain *plain, const char *path, const char *data, size_t len);

/* Calls EACH with every name in the directory PATH but . and .., until it returns false. -ENOENT if
 * there is none. */
typedef bool (*plain_each_fn)(const char *name, const struct stat *st, void *arg);
MUST_USE int plain_list(struct plain *plain, const char *path, plain_each_fn each, void *arg);
