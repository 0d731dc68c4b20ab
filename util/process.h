/* What /proc says of the processes that use the mount. */
#ifndef ROWFS_UTIL_PROCESS_H
#define ROWFS_UTIL_PROCESS_H

#include <sys/types.h>

/* The process (thread group) that thread TID belongs to; 0 if TID is 0, or that cannot be known: another PID namespace, no /proc.
 * Reads /proc/TID/status: unlike /proc/TID/stat it takes no lock that a process in exec holds, which may be waiting for us. Thread-safe. */
pid_t process_of(pid_t tid);

#endif
