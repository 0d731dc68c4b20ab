/* What runs by the clock: the layout's timers, a look at the database's health, the ledger's
 * trimming. One thread. */
#ifndef ROWFS_FS_ADMIN_TIMER_H
#define ROWFS_FS_ADMIN_TIMER_H

#include "fs/core/fs.h"

struct timer;

/* Starts the thread. Returns 0 or -errno. */
MUST_USE int timer_start(struct fs *fs, struct timer **out);
/* Stops it, waiting for a statement under way to end. */
void timer_stop(struct timer *timer);

#endif
