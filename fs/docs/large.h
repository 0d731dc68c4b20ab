/* Documents that are too large to be held in memory: they are read in pieces into a file without a
 * name, below state_dir. */
#pragma once

#include "fs/core/call.h"
#include "fs/inodes/node.h"

struct scratch;

enum { LARGE_FROM = 1 << 20 }; /* bytes */

/* The document of W as it is now, one version of it: *OUT is a file with its bytes, whose
 * reference is the caller's, and VERSION gets its version. Returns 0, -ENOENT if there is none,
 * or -errno with call->err saying why. */
MUST_USE int large_read(struct call *call, const struct where *w, struct scratch **out,
			struct buf *version);
