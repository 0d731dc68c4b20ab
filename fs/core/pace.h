/* Pace: how much of the time that a process was given for its next system call it could use. On a
 * busy machine time passes in which it cannot do anything: it waits for a processor. That time is
 * not counted against it. Where /proc does not tell (see proc(5)), no time is lost.
 *
 * Only files of /proc are read that never wait for the process. A process in exec() closes files
 * while it holds a lock that a read of /proc/TID/syscall or stat waits for, and the reply to such a
 * close may wait for who asks here. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* How long all threads that process TGID has now have waited for a processor since they began,
 * microseconds, without waits that are not over yet. */
int64_t pace_waited_us(pid_t tgid);

enum pace {
	PACE_SLEEPS,   /* all threads of the process wait for something of their own */
	PACE_RUNNABLE, /* one has a processor, or waits for one */
	/* one waits in the kernel and cannot be woken: for a lock (of a directory, say), a page,
	 * a disk */
	PACE_BLOCKED,
};

/* What thread TID does just now; PACE_SLEEPS if there is none. */
enum pace pace_of_thread(pid_t tid);

/* What process TGID does just now: what is last in the list, of its threads. */
enum pace pace_of(pid_t tgid);

/* How much time of processors all threads of process TGID have had, microseconds. */
int64_t pace_ran_us(pid_t tgid);
