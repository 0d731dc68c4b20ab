/* Time for deadlines: microseconds of the monotonic clock, so that setting the wall clock moves
 * none. */
#pragma once

#include <pthread.h>
#include <stdint.h>
#include <time.h>

enum { US_PER_MS = 1000, US_PER_S = 1000000, NS_PER_S = 1000000000 };

/* A deadline that never comes. */
#define NEVER_US INT64_MAX

static inline int64_t clock_us(void) {
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * US_PER_S + now.tv_nsec / 1000;
}

/* The wall clock, nanoseconds since 1970. */
static inline int64_t clock_now_ns(void) {
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * NS_PER_S + now.tv_nsec;
}

/* The moment MS milliseconds from now; 0 means never. */
static inline int64_t deadline_after_ms(int ms) {
	return ms > 0 ? clock_us() + (int64_t)ms * US_PER_MS : NEVER_US;
}

/* A time in microseconds as nanoseconds; what these cannot hold, the years before 1677 and behind
 * 2262, is their end. */
static inline int64_t ns_of_us(int64_t us) {
	int64_t most = INT64_MAX / 1000;
	return (us > most ? most : us < -most ? -most : us) * 1000;
}

/* A file's time, which anybody may have set, as nanoseconds; it ends there, too. */
static inline int64_t ns_of_timespec(struct timespec t) {
	int64_t ns;
	if (__builtin_mul_overflow((int64_t)t.tv_sec, (int64_t)NS_PER_S, &ns) ||
	    __builtin_add_overflow(ns, (int64_t)t.tv_nsec, &ns))
		return t.tv_sec < 0 ? INT64_MIN : INT64_MAX;
	return ns;
}

/* Before 1970 the seconds are rounded down: tv_nsec is never negative. */
static inline struct timespec timespec_of_ns(int64_t ns) {
	int64_t part = ns % NS_PER_S;
	part += part < 0 ? NS_PER_S : 0;
	return (struct timespec){ .tv_sec = ns / NS_PER_S - (ns % NS_PER_S < 0), .tv_nsec = part };
}

static inline struct timespec timespec_of_us(int64_t us) {
	int64_t part = us % US_PER_S;
	part += part < 0 ? US_PER_S : 0;
	return (struct timespec){ .tv_sec = us / US_PER_S - (us % US_PER_S < 0),
				  .tv_nsec = part * 1000 };
}

/* Initializes CONDITION, whose waits then end by this clock. */
static inline void clock_condition(pthread_cond_t *condition) {
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(condition, &attr);
	pthread_condattr_destroy(&attr);
}
