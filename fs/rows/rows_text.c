#include "fs/rows/rows_text.h"

#include "util/list.h"

#include <errno.h>

int rows_text_add(struct input *in, void *arg, const struct line *line, struct shape *shape,
		  const struct buf *json) {
	struct rows_text *t = arg;
	int i = 0;
	while (i < t->ngroups && !shape_equal(&t->groups[i].shape, shape))
		i++;
	if (i == t->most)
		return call_error(
			in->call, EINVAL,
			"lines with more than %d different sets of keys: write the same keys in "
			"all lines",
			t->most);
	if (!list_room(t->lines, t->nlines))
		return call_error(in->call, ENOMEM, "out of memory");
	t->ngroups += i == t->ngroups;
	t->lines[t->nlines++] = (struct text_line){ i, t->groups[i].n };
	return group_add(in->call, &t->groups[i], line, shape, json);
}

void rows_text_free(struct rows_text *text) {
	for (int i = 0; i < text->ngroups; i++)
		group_free(&text->groups[i]);
	free(text->lines);
	*text = (struct rows_text){ 0 };
}
