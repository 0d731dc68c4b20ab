/* A thread that does a piece of work again and again: when it is due, or when somebody calls for
 * it. The one clock of what is committed after a while. */
#pragma once

#include "util/cleanup.h"

#include <stdint.h>

/* It is due again when somebody calls for it. */
#define TICKER_REST INT64_MAX

/* Does the work with ARG. Returns after how many microseconds it is due again, from now, or
 * TICKER_REST. */
typedef int64_t (*ticker_fn)(void *arg);

/* Calls TEND from a new thread, at once and whenever it is due. NULL if there is no memory or no
 * thread for it. ARG is borrowed until ticker_stop(). */
MUST_USE struct ticker *ticker_start(ticker_fn tend, void *arg);

/* The work is due now. It is done soon, and once more if it is just being done. Thread-safe; may be
 * called with any lock held that TEND takes. */
void ticker_call(struct ticker *ticker);

/* Waits until the work is not done any more, and frees. What is due is not done. NULL is fine. Not
 * to be called with a lock held that TEND takes. */
void ticker_stop(struct ticker *ticker);
