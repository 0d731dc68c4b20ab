/* Texts by numbers: equal ones have one, so that many of them can be compared as numbers. Not
 * thread-safe. */
#pragma once

#include "util/cleanup.h"

#include <stddef.h>

struct texts {
	struct text {
		const char *data; /* borrowed; it must outlive the texts */
		size_t len;
		unsigned hash;
		/* For their user; of a new one: -1, 0, 0. Numbers of other texts: what this
		 * one is as a line of a file, and what is known of that line. */
		int line, tie, identity;
	} * all; /* by their numbers */
	int n;
	int *slots; /* by hash: a number and one, or 0 */
	size_t nslots;
};

/* The number of a text, which is a new one if there was none; -ENOMEM. It moves `all`. */
int text_number(struct texts *t, const char *data, size_t len);
void texts_free(struct texts *t);
