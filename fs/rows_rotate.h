/* Logs that are rows files, and programs that rotate logs. */
#ifndef ROWFS_FS_ROWS_ROTATE_H
#define ROWFS_FS_ROWS_ROTATE_H

#include "fs/node.h"

/* True if FROM and TO, names in DIR, are rotations ("LOG.1", "LOG.2.gz") of one rows file LOG whose lines the layout keeps: by
 * `truncate` or `remove`. A program that rotates renames them first, and would fail behind that, at the log itself. Thread-safe. */
bool rows_are_kept_rotations(const struct node *dir, const char *from, const char *to);

#endif
