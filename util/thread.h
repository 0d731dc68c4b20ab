/* The one place that starts a thread. */
#pragma once

#include "util/cleanup.h"

#include <pthread.h>

/* Calls FN with ARG in a new thread, which ends with it. *THREAD is for pthread_join(); NULL:
 * nobody joins it. No signal is delivered to the thread, but for its own faults: signals are for
 * the threads that handle them. Returns 0 or -errno. Thread-safe. */
MUST_USE int thread_start(pthread_t *thread, void *(*fn)(void *arg), void *arg);
