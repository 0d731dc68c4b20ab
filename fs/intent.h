/* What a process that is waiting for a look-up is about to do. The kernel's LOOKUP does not say, and for one case it matters: `cp -r`
 * and `tar -x` make a directory and then everything in it exclusively (O_EXCL, mkdir), and would fail on the names that a row's directory
 * has from the start. So to the process that made a directory, they are not there while it makes them. */
#ifndef ROWFS_FS_INTENT_H
#define ROWFS_FS_INTENT_H

#include <stdbool.h>
#include <sys/types.h>

/* True if thread TID is in a system call that makes a name and fails if it exists: mkdir, or open with O_CREAT and O_EXCL. False if
 * that cannot be known (no right to look into it: then such a program is told EEXIST). Reads /proc/TID/syscall, see proc(5). */
bool intent_is_exclusive(pid_t tid);

#endif
