/* Which opens are told ESTALE. The kernel then looks the path up anew and opens once more; a second
 * ESTALE goes to the program. So:
 *
 * - the open of one path by one thread is told it once;
 * - where a writer was told it since readers share the kernel's pages of the file, no reader is let
 *   into these pages for a while, whatever node the name has by then.
 *
 * Both are remembered in slots, by thread and by file; what takes another's slot is forgotten
 * early, or not told. Pure: the caller has the lock and the time. */
#pragma once

#include "util/states.h"

#include <stdint.h>
#include <sys/types.h>

enum reopen_state {
	REOPEN_NONE,
	REOPEN_TOLD,   /* a thread's open was told ESTALE: the kernel opens once more for it */
	REOPEN_WANTED, /* a writer waits for readers to leave the kernel's pages of a file */
	REOPEN_STATES
};

enum reopen_event {
	REOPEN_ON_STALE, /* an open found another version than its look-up */
	REOPEN_ON_AGAIN, /* so did the second open of the same path */
	REOPEN_ON_OVER,  /* the thread has opened something, or failed to */
	REOPEN_ON_EXPEL, /* a writer met readers in the pages */
	REOPEN_ON_LAPSE, /* its time is over */
	REOPEN_EVENTS
};

extern struct state_table reopen_table;

enum { REOPEN_THREADS = 1024, REOPEN_FILES = 256 };

struct reopen {
	enum reopen_state state; /* changed in reopen.c only */
	pid_t tid;               /* REOPEN_TOLD: whose open */
	uint64_t ino;            /* of the path; REOPEN_WANTED: identity */
	int64_t until_us;        /* clock_us() */
};

/* Zeroed: nothing was told. */
struct reopens {
	struct reopen threads[REOPEN_THREADS], files[REOPEN_FILES];
};

/* An open by thread TID of the path INO found another version: true if it is to be told ESTALE. */
MUST_USE bool reopen_may_tell(struct reopens *all, pid_t tid, uint64_t ino, int64_t now_us);
/* Thread TID has opened something, or failed to. */
void reopen_over(struct reopens *all, pid_t tid);

/* A writer is told ESTALE, since readers share the kernel's pages of the file INO. */
void reopen_expel(struct reopens *all, uint64_t ino, int64_t now_us);
/* True if no reader is to be let into the pages of INO. */
bool reopen_is_wanted(struct reopens *all, uint64_t ino, int64_t now_us);
