/* Directories for files that nobody else is to choose.
 *
 * Who may write to a directory can put a link or a file of his own there before the mount comes,
 * and the mount, perhaps root's, would empty or fill what it points to. So a path is opened
 * component by component, links too, and each must be safe: it belongs to root or to this user, and
 * nobody else may write to it. In a directory with the sticky bit (/tmp) others may make names but
 * not change ours, so the next component decides. A directory that its own group may write is safe
 * if it is this user's own group, as many systems make their users' directories. */
#pragma once

#include "util/buf.h"

/* Opens the directory PATH, made if it is missing, with all above it. Returns a descriptor, the
 * caller's, or -errno; WHY then says what is wrong, of which component. -EPERM: somebody else
 * could choose what is there. Thread-safe. */
int private_dir_open(const char *path, struct buf *why);

/* The same for NAME in the directory DIR, which private_dir_open() has opened: it must be this
 * user's own. */
int private_dir_below(int dir, const char *name, struct buf *why);
