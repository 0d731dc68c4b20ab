/* The end of a mount by a signal (SIGTERM, SIGINT, SIGHUP). A thread of its own takes these,
 * from before the mount is there until all of it is gone:
 *
 *   at once          before anything is mounted, the process ends; else the loop ends, readers are
 *                    interrupted, and what is open is committed in its turn
 *   after 5 s        something waits for the database: files that nobody works on are committed
 *                    out of their turn, by threads
 *   after 25 s       what is not committed is told in the log, and kept in rejected/ where nobody
 *                    works on it; the mount goes, and the process ends with status 1
 *
 * So it ends within 30 s, whatever waits for whatever. Thread-safe. */
#ifndef ROWFS_FS_KERNEL_ENDING_H
#define ROWFS_FS_KERNEL_ENDING_H

#include "fs/core/fs.h"

#include <fuse_lowlevel.h>

struct ending;

/* Blocks the signals that end a mount in this thread and all that it will start. To be called
 * before there are other threads. */
void ending_block_signals(void);

/* Starts the thread. NULL if it cannot be. */
MUST_USE struct ending *ending_start(struct fs *fs);
/* From here on there is, or may be, something to commit: a signal does not end the process at
 * once. */
void ending_mounts(struct ending *ending);
/* This thread is going to run the loop of SE, and has run it. */
void ending_serves(struct ending *ending, struct fuse_session *se);
void ending_has_served(struct ending *ending);
/* SE is unmounted and freed by its owner from here on. */
void ending_unmounts(struct ending *ending);
/* All is committed: waits for the threads that were started, and no signal commits anything from
 * here on. */
void ending_committed(struct ending *ending);
/* All is over: ends the thread and frees. NULL is fine. */
void ending_stop(struct ending *ending);

#endif
