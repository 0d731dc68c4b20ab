/* What the kernel is to forget: see invalidate.h. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Something to forget. */
struct forget {
	struct forget *next;
	struct node *
		node; /* with a reference: what `name` is in, or whose attributes and pages it is */
	char *name;   /* NULL: attributes and, with `data`, pages and listings */
	bool data;
	bool directory; /* `name` is one's */
	bool expired;   /* all names were declared out of date since */
	/* the kernel did not know it: how long that may go on; 0: it was not told yet */
	int64_t until_us;
	void (*then)(
		void *arg); /* called when it has been told, or never will be; NULL: nothing is */
	void *arg;
	/* `data`, and a directory: so it was when this was made, under the lock of the nodes */
	bool listing;
};
