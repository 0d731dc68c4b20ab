/* state_dir, and the directory in it that is this mount's. */
#ifndef ROWFS_FS_START_PLACE_H
#define ROWFS_FS_START_PLACE_H

#include "fs/core/fs.h"

/* Says on stderr that the state directory cannot be used, and WHY (else what RC, -errno, says). */
void place_complain(const struct options *opt, int rc, const struct buf *why);

/* Makes the place this daemon's, and ends what an earlier mount left under way. Tells on stderr
 * what is in the way. */
MUST_USE bool place_open(struct fs *fs);

#endif
