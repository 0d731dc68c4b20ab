/* The lines of a text that is to be brought to the rows, or the objects of a table document, by
 * their columns. One thread at a time. */
#pragma once

#include "fs/rows/rows_lines.h"

enum { GROUPS_MOST = 256, GROUPS_MOST_LINES = 64 };

/* The lines of a text, in their order and by their columns. */
struct rows_text {
	struct input *in; /* borrowed */
	int most;         /* groups that there may be */
	struct line_group groups[GROUPS_MOST];
	int ngroups;
	struct text_line {
		int group, at; /* where it is */
	} * lines;             /* owned */
	int nlines;
};

/* A line_fn, whose ARG is a struct rows_text: adds the line. */
int rows_text_add(struct input *in, void *arg, const struct line *line, struct shape *shape,
		  const struct buf *json);
void rows_text_free(struct rows_text *text);
