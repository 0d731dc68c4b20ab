/* Work that may wait for something else, for ever perhaps: a server, a process, the kernel. Each
 * job has a thread of its own at once, and never waits for another job; a thread whose job is done
 * takes another one, and a few are kept for that. Thread-safe. */
#pragma once

#include "util/cleanup.h"

typedef void (*job_fn)(void *arg);

/* Calls FN with ARG in another thread, as thread_start() makes them. Nobody waits for it. Returns 0
 * or -errno. May be called with any lock held. */
MUST_USE int job_run(job_fn fn, void *arg);

/* The same of one that is waited for: NULL if there is no memory or no thread for it. */
MUST_USE struct job *job_start(job_fn fn, void *arg);
/* Waits until JOB is done, and frees it. No lock is held that the job takes. */
void job_join(struct job *job);
