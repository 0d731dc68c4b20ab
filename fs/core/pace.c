#include "fs/core/pace.h"

#include "util/process.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int64_t waited_us(pid_t tid) {
	char text[128], *at = text;
	(void)process_read(tid, "schedstat", text, sizeof(text));
	(void)strtoll(at, &at, 10); /* the time that it has run */
	return strtoll(at, NULL, 10) / 1000;
}

enum pace pace_of_thread(pid_t tid) {
	static const char label[] = "\nState:";
	char text[512];
	(void)process_read(tid, "status", text, sizeof(text));
	const char *state = strstr(text, label);
	if (state == NULL)
		return PACE_SLEEPS;
	state += strlen(label) + strspn(state + strlen(label), "\t ");
	return *state == 'D' ? PACE_BLOCKED : *state == 'R' ? PACE_RUNNABLE : PACE_SLEEPS;
}

static void close_threads(DIR **threads) {
	if (*threads != NULL)
		closedir(*threads);
}

#define AUTO_THREADS __attribute__((cleanup(close_threads)))

static DIR *open_threads(pid_t tgid) {
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/task", (int)tgid);
	return opendir(path);
}

/* The next one's id; 0 behind the last. */
static pid_t next_thread(DIR *threads) {
	const struct dirent *entry;
	do
		entry = threads != NULL ? readdir(threads) : NULL;
	while (entry != NULL && entry->d_name[0] == '.');
	return entry != NULL ? (pid_t)strtol(entry->d_name, NULL, 10) : 0;
}

int64_t pace_waited_us(pid_t tgid) {
	int64_t all_us = 0;
	AUTO_THREADS DIR *threads = open_threads(tgid);
	for (pid_t tid; (tid = next_thread(threads)) != 0;)
		all_us += waited_us(tid);
	return all_us;
}

enum pace pace_of(pid_t tgid) {
	enum pace pace = PACE_SLEEPS;
	AUTO_THREADS DIR *threads = open_threads(tgid);
	for (pid_t tid; (tid = next_thread(threads)) != 0;) {
		enum pace one = pace_of_thread(tid);
		pace = one > pace ? one : pace;
	}
	return pace;
}

int64_t pace_ran_us(pid_t tgid) {
	clockid_t clock;
	struct timespec ran;
	if (clock_getcpuclockid(tgid, &clock) != 0 || clock_gettime(clock, &ran) != 0)
		return 0;
	return (int64_t)ran.tv_sec * 1000000 + ran.tv_nsec / 1000;
}
