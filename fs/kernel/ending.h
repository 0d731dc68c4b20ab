/* The end of a mount by a signal (SIGTERM, SIGINT). A thread of its own takes these, and SIGHUP,
 * which asks for the layout to be read anew (fs/admin/reload.h), from before the mount is there
 * until all of it is gone:
 *
 *   at once          before anything is mounted, the process ends; else the loop ends, readers are
 *                    interrupted, and what is open is committed in its turn
 *   after 5 s        something waits for the database: files that nobody works on are committed
 *                    out of their turn, by threads
 *   after 25 s       what is not committed is told in the log, and kept in rejected/ where nobody
 *                    works on it; the mount goes, and the process ends with status 1
 *
 * So it ends within 30 s, whatever waits for whatever. Thread-safe. */
#pragma once

#include "fs/core/fs.h"

#include <fuse_lowlevel.h>

/* From here on there is, or may be, something to commit: a signal does not end the process at
 * once. */
void ending_mounts(struct ending *ending);
/* This thread is going to run the loop of SE, and has run it. */
void ending_serves(struct ending *ending, struct fuse_session *se);
void ending_has_served(struct ending *ending);
/* SE is unmounted and freed by its owner from here on. */
void ending_unmounts(struct ending *ending);
