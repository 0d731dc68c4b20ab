/* Time for deadlines: microseconds of the monotonic clock, so that setting the wall clock moves none. */
#ifndef ROWFS_UTIL_CLOCK_H
#define ROWFS_UTIL_CLOCK_H

#include <pthread.h>
#include <stdint.h>
#include <time.h>

enum { US_PER_MS = 1000, US_PER_S = 1000000 };

/* A deadline that never comes. */
#define NEVER_US INT64_MAX

static inline int64_t clock_us(void) {
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * US_PER_S + now.tv_nsec / 1000;
}

/* The moment MS milliseconds from now; 0 means never. */
static inline int64_t deadline_after_ms(int ms) {
	return ms > 0 ? clock_us() + (int64_t)ms * US_PER_MS : NEVER_US;
}

/* A time in microseconds as nanoseconds; what these cannot hold, the years before 1677 and behind 2262, is their end. */
static inline int64_t ns_of_us(int64_t us) {
	int64_t most = INT64_MAX / 1000;
	return (us > most ? most : us < -most ? -most : us) * 1000;
}

static inline struct timespec timespec_of_us(int64_t us) {
	return (struct timespec){ .tv_sec = us / US_PER_S, .tv_nsec = us % US_PER_S * 1000 };
}

/* Initializes CONDITION, whose waits then end by this clock. */
static inline void clock_condition(pthread_cond_t *condition) {
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(condition, &attr);
	pthread_condattr_destroy(&attr);
}

#endif
