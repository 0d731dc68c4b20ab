/* Requests that a thread has read from the kernel and that are no calls yet (call.h): on a busy
 * machine a thread may lose its processor between the two, and nobody knows then which process
 * waits for what. See removal.h, which must not take such a process for an idle one.
 * Thread-safe. */
#ifndef ROWFS_FS_INTAKE_H
#define ROWFS_FS_INTAKE_H

#include "util/cleanup.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct intake;

/* For THREADS threads that serve; others are not seen. NULL if out of memory. */
MUST_USE struct intake *intake_new(unsigned threads);
/* When no thread serves any more. NULL is fine. */
void intake_free(struct intake *intake);

/* read(2) of a request. */
ssize_t intake_read(struct intake *intake, int fd, void *buf, size_t len);

/* The request that this thread has read is a call now. */
void intake_known(struct intake *intake);

/* True if a request is, or may be, on its way from the kernel to a call. */
bool intake_any(struct intake *intake);

#endif
