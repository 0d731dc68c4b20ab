/* Logs that are rows files, and programs that rotate logs. Such a program renames the older
 * rotations first (LOG.1 to LOG.2), and then LOG itself to LOG.1, and makes it anew. For a rows
 * file the last rename moves the lines: they become a plain file, and their rows go, as with
 * copytruncate. What would forbid that is told at the first rename, before anything has moved.
 * Thread-safe. */
#pragma once

#include "fs/core/call.h"
#include "fs/inodes/node.h"

/* FROM and TO are names in DIR, and FROM is a plain file. If they are rotations ("LOG.1",
 * "LOG.2.gz") of one rows file LOG that cannot be rotated: -errno. Else 0. */
MUST_USE int rows_rotation_check(struct call *call, struct node *dir, const char *from,
				 const char *to);

/* For the kind. Moves the lines of NODE to a plain file at path TO, and deletes their rows, in one
 * transaction: exactly the lines that are in the plain file go. If it fails, all rows are there; if
 * rowfs is killed, see rotations.h. */
MUST_USE int rows_rotate(struct call *call, struct node *node, const char *name, const char *to);
