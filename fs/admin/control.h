/* /.rowfs: what the mount says of itself. Generated text, a snapshot at each look-up; rejected/
 * holds real files. */
#ifndef ROWFS_FS_ADMIN_CONTROL_H
#define ROWFS_FS_ADMIN_CONTROL_H

#include "fs/core/call.h"
#include "fs/inodes/node.h"
#include "fs/core/kind.h"
#include "fs/open/handle.h"
#include "util/text/name.h"

#define CONTROL_DIRECTORY NAME_CONTROL

extern const struct kind control_kind;

/* True if a request for NODE, or for NAME in it if it is not NULL, never waits: NODE is in
 * /.rowfs, and neither is `health`, which asks the database. */
bool control_is_quick(const struct node *node, const char *name);

#endif
