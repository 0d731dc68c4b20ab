/* How a process gets on, which has been given some time for its next system call. On a busy machine time passes in which it cannot do anything:
 * it waits for a processor, or for us. That time is not counted against it. Read from /proc (see proc(5)): where that is not allowed or
 * not there, no time is lost. */
#ifndef ROWFS_FS_PACE_H
#define ROWFS_FS_PACE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* How long thread TID has waited for a processor since it began, microseconds. */
int64_t pace_waited_us(pid_t tid);

/* True if a thread of process TGID waits just now for the look-up, opening, creation or renaming of a file. */
bool pace_waits(pid_t tgid);

#endif
