/* Checks of the unit tests. A failed check is printed and counted; the test goes on.
 * Thread-safe. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static atomic_int checks_passed, checks_failed;

static inline bool check_at(bool ok, const char *file, int line, const char *what) {
	if (ok) {
		atomic_fetch_add(&checks_passed, 1);
	} else {
		atomic_fetch_add(&checks_failed, 1);
		fprintf(stderr, "%s:%d: failed: %s\n", file, line, what);
	}
	return ok;
}

static inline bool check_int_at(long long got, long long want, const char *file, int line,
				const char *what) {
	if (got != want)
		fprintf(stderr, "%s:%d: got %lld, want %lld\n", file, line, got, want);
	return check_at(got == want, file, line, what);
}

static inline bool check_str_at(const char *got, const char *want, const char *file, int line,
				const char *what) {
	bool ok = got != NULL && strcmp(got, want) == 0;
	if (!ok)
		fprintf(stderr, "%s:%d: got  \"%s\"\n%s:%d: want \"%s\"\n", file, line,
			got != NULL ? got : "(null)", file, line, want);
	return check_at(ok, file, line, what);
}

static inline bool check_has_at(const char *got, const char *part, const char *file, int line,
				const char *what) {
	bool ok = got != NULL && strstr(got, part) != NULL;
	if (!ok)
		fprintf(stderr, "%s:%d: \"%s\" is not in \"%s\"\n", file, line, part,
			got != NULL ? got : "(null)");
	return check_at(ok, file, line, what);
}

#define CHECK(cond) check_at((cond), __FILE__, __LINE__, #cond)
#define CHECK_INT(got, want) check_int_at((got), (want), __FILE__, __LINE__, #got " == " #want)
#define CHECK_STR(got, want) check_str_at((got), (want), __FILE__, __LINE__, #got " is " #want)
#define CHECK_HAS(got, part) check_has_at((got), (part), __FILE__, __LINE__, #got " has " #part)

/* The last line of main(): prints the sum, returns the exit status. */
static inline int check_end(void) {
	int failed = atomic_load(&checks_failed);
	printf("%d passed, %d failed\n", atomic_load(&checks_passed), failed);
	return failed != 0;
}
