/* Several processes that do the same work at the same time: for the rates of many readers and
 * writers.
 *
 * Programs that are started one by one and time themselves hardly overlap: starting one takes as
 * long as what it is to do. So one program forks them all, lets them prepare, and lets them begin
 * together. */
#pragma once

#include <stdbool.h>

struct crew {
	int processes; /* how many there are, at least 1 */
	/* What number I does before all begin (its own connection, say); may be NULL. */
	bool (*prepare)(void *context, int i);
	bool (*work)(void *context, int i);
	void *context; /* handed to both; each process has its own copy of what it points to */
};

/* Seconds since some moment that all processes share. */
double now(void);

/* Runs CREW's processes, or in this one if there is only one. Returns the seconds from the first
 * one's beginning to work to the last one's end; negative if one failed, which has then said why on
 * stderr. Not thread-safe. */
double at_once(const struct crew *crew);
