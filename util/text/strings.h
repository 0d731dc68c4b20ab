/* C strings as wholes. Pure; thread-safe. */
#pragma once

#include <stdbool.h>
#include <string.h>

/* Both are the same text, or both are NULL. */
static inline bool text_same(const char *a, const char *b) {
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* S ends in END. */
static inline bool text_ends(const char *s, const char *end) {
	size_t len = strlen(s), tail = strlen(end);
	return len >= tail && strcmp(s + len - tail, end) == 0;
}

/* Which of the N texts of LIST is S; -1: none. */
static inline int text_index(const char *const *list, int n, const char *s) {
	int i = 0;
	while (i < n && strcmp(list[i], s) != 0)
		i++;
	return i < n ? i : -1;
}
