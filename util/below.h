/* Files below a directory that is open, when somebody else may write to the tree: names are
 * opened one after the other, and no link is followed, so that nothing outside of the directory
 * is reached. Thread-safe. */
#pragma once

#include "util/cleanup.h"

#include <sys/stat.h>

/* Opens PATH, relative to DIR, as open() would; O_NOFOLLOW and O_CLOEXEC are added. Returns the
 * descriptor, the caller's, or -errno: -ELOOP or -ENOTDIR for a link. */
MUST_USE int below_open(int dir, const char *path, int flags, mode_t mode);
/* Opens a regular file for reading: nothing that waits for somebody, or does something when it
 * is opened. -EINVAL if it is none. */
MUST_USE int below_read(int dir, const char *path);
/* As lstat(). Returns 0 or -errno. */
MUST_USE int below_stat(int dir, const char *path, struct stat *st);
/* Makes the directories of PATH's first LEN bytes that are not there. Returns 0 or -errno. */
MUST_USE int below_make(int dir, const char *path, size_t len);
