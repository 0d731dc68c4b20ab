/* Requests between the kernel and their calls (call.h).
 *
 * A request may wait: for the database, a lock, a slow disk. At most `threads` are served at
 * once; there are INTAKE_SPARE threads more, and what comes beyond that number is put in a
 * queue, from which a thread takes when it has served another. So there is always a thread for
 * *quick* requests, which never wait: those that `/.rowfs/status.json` and `errors.jsonl` need,
 * interrupts, and what the kernel forgets. The queue is bounded by its bytes; beyond, a spare
 * thread serves what it has read.
 *
 * On a busy machine a thread may lose its processor between reading a request and calling
 * call_begin(), and nobody knows then which process waits for what. See removal.h, which must
 * not take such a process for an idle one.
 *
 * Thread-safe. */
#pragma once

#include "util/cleanup.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum { INTAKE_SPARE = 2 };

/* The header of a request, whose bytes are SIZE in all: true if serving it never waits. The lock is
 * held, so it takes none. */
typedef bool (*intake_quick_fn)(void *arg, const void *request, size_t size);

/* For at most MOST requests at once, and INTAKE_SPARE threads more; others are not seen. NULL if
 * out of memory. */
MUST_USE struct intake *intake_new(unsigned most, intake_quick_fn quick, void *arg);
/* When no thread serves any more. NULL is fine. */
void intake_free(struct intake *intake);

/* The next request for this thread, as read(2) gives it; the one before it is served. May be
 * cancelled where read(2) may. */
ssize_t intake_read(struct intake *intake, int fd, void *buf, size_t len);

/* What waits until requests have ended. OVER is called with ARG once, and may free it. */
struct intake_wait {
	struct intake_wait *next; /* the intake's */
	void (*over)(void *arg);
	void *arg;
};
/* Calls WAIT's function when all requests that are under way now have ended: by the thread that
 * ends the last one, without a lock, or at once; also by intake_free(). May be called in a
 * request. */
void intake_after(struct intake *intake, struct intake_wait *wait);

/* The request that this thread has read is a call now. */
void intake_known(void);

/* True if this thread serves a quick request: it must not do anything else meanwhile that waits. */
bool intake_is_quick(void);

/* True if a request is, or may be, on its way from the kernel to a call. */
bool intake_any(struct intake *intake);
