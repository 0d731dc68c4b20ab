#include "fs/refusals.h"

#include "fs/report.h"

#include <stdlib.h>
#include <string.h>

static void free_one(struct refusal *one) {
	free(one->text);
	free(one->why);
}

void refusals_clear(struct refusals *list) {
	for (int i = 0; i < list->n; i++)
		free_one(&list->all[i]);
	free(list->all);
	*list = (struct refusals){ 0 };
}

/* Room for MORE. */
static bool grow(struct refusals *list, int more) {
	struct refusal *all = reallocarray(list->all, (size_t)list->n + (size_t)more, sizeof(*all));
	if (all != NULL)
		list->all = all;
	return all != NULL;
}

bool refusals_add(struct refusals *list, struct refusal one, const char *text, size_t len,
		  const char *why) {
	one.len = len;
	one.text = malloc(len + 1);
	one.why = strdup(why);
	if (one.text == NULL || one.why == NULL || !grow(list, 1)) {
		free_one(&one);
		return false;
	}
	if (len > 0)
		memcpy(one.text, text, len);
	list->all[list->n++] = one;
	return true;
}

bool refusals_move(struct refusals *to, struct refusals *from) {
	if (from->n == 0)
		return true;
	if (!grow(to, from->n))
		return false;
	memcpy(to->all + to->n, from->all, (size_t)from->n * sizeof(*from->all));
	to->n += from->n;
	from->n = 0; /* what they own belongs to TO now */
	refusals_clear(from);
	return true;
}

int refusal_tell(const struct refusal *one, struct fs *fs, const char *path) {
	AUTO_FREE char *name = one->len > 0 ? report_reject(fs->report, path, one->number,
							    one->text, one->len, one->why)
					    : NULL;
	report_error(fs->report, path, one->errnum, one->sqlstate, one->why, name);
	atomic_fetch_add(&fs->count.errors, 1);
	atomic_fetch_add(&fs->count.lines_rejected, 1);
	return -one->errnum;
}

int refusals_tell(const struct refusals *list, struct fs *fs, const char *path) {
	int first = 0;
	for (int i = 0; i < list->n; i++) {
		int rc = refusal_tell(&list->all[i], fs, path);
		first = first != 0 ? first : rc;
	}
	return first;
}
