/* What /proc says of the processes that use the mount. Reads /proc/TID/status: unlike
 * /proc/TID/stat it takes no lock that a process in exec holds, which may be waiting for us.
 * Thread-safe. */
#pragma once

#include <sys/types.h>

/* TEXT, of ROOM bytes, gets the beginning of FILE of thread TID, and a NUL. Returns how many bytes
 * that are; 0 if it cannot be read. */
size_t process_read(pid_t tid, const char *file, char *text, size_t room);

/* The process (thread group) that thread TID belongs to; 0 if TID is 0, or that cannot be known:
 * another PID namespace, no /proc. */
pid_t process_of(pid_t tid);

enum { SESSION_UNKNOWN = -1 };

/* The session (see setsid(2)) of thread TID's process; SESSION_UNKNOWN if it cannot be known. 0 is
 * a session, too: one that began outside this PID namespace, as that of what starts a container
 * or a program in it. */
pid_t process_session(pid_t tid);

enum { PROCESS_NAME = 64 };

/* NAME gets the name of thread TID's process, which exec(2) changes; "" if it cannot be known. */
void process_name(pid_t tid, char name[PROCESS_NAME]);
