/* /.rowfs: what the mount says of itself. Generated text, a snapshot at each look-up; rejected/
 * holds real files. */
#ifndef ROWFS_FS_ADMIN_CONTROL_H
#define ROWFS_FS_ADMIN_CONTROL_H

#include "fs/core/call.h"
#include "fs/core/kind.h"
#include "fs/open/handle.h"
#include "util/text/name.h"

#define CONTROL_DIRECTORY NAME_CONTROL

extern const struct kind control_kind;

/* True if a request for NODE, or for NAME in it if it is not NULL, never waits: NODE is in
 * /.rowfs, and neither is `health`, which asks the database. */
bool control_is_quick(const struct node *node, const char *name);

/* NAME in DIR, which is the root (for .rowfs itself) or a control directory. */
MUST_USE int control_lookup(struct call *call, struct node *dir, const char *name, bool lookup,
			    struct node **out);

/* Calls EACH with every name in control directory DIR, until it returns false. */
typedef bool (*control_each_fn)(const char *name, bool directory, void *arg);
void control_list(struct call *call, const struct node *dir, control_each_fn each, void *arg);

/* True if the process that sent REQ may list DIR, whatever it is: rejected/ is for the mount's
 * owner and root. */
bool control_may_list(const struct fs *fs, fuse_req_t req, const struct node *dir);

/* Removes a file of rejected/; everything else refuses. */
MUST_USE int control_unlink(struct call *call, const struct node *dir, const char *name);

#endif
