#include "fs/stream/refusals.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 1000, BYTES_MOST = 4 << 20 }; /* of a list that folds */

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
	size_t room = 16, want = (size_t)list->n + (size_t)more;
	while (room < want)
		room *= 2;
	struct refusal *all = reallocarray(list->all, room, sizeof(*all));
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
	list->bytes += len;
	return true;
}

static bool is_full(const struct refusals *list) {
	return list->n >= MOST || list->bytes >= BYTES_MOST;
}

/* ONE goes into the one that stands for many. What it owns stays its own. */
static bool fold(struct refusals *list, const struct refusal *one) {
	if (list->fold == 0) {
		if (!refusals_add(list, *one, one->text, one->len, one->why))
			return false;
		list->fold = list->n;
		return true;
	}
	struct refusal *many = &list->all[list->fold - 1];
	many->more += one->more + 1;
	many->last = one->more > 0 ? one->last : one->number;
	return true;
}

bool refusals_add_or_fold(struct refusals *list, struct refusal one, const char *text, size_t len,
			  const char *why) {
	if (list->fold == 0 && !is_full(list))
		return refusals_add(list, one, text, len, why);
	one.text = (char *)(uintptr_t)text;
	one.len = len;
	one.why = (char *)(uintptr_t)why;
	return fold(list, &one);
}

bool refusals_move(struct refusals *to, struct refusals *from) {
	if (from->n == 0)
		return true;
	if (!grow(to, from->n))
		return false;
	memcpy(to->all + to->n, from->all, (size_t)from->n * sizeof(*from->all));
	if (from->fold > 0 && to->fold == 0)
		to->fold = to->n + from->fold;
	to->n += from->n;
	to->bytes += from->bytes;
	from->n = 0; /* what they own belongs to TO now */
	refusals_clear(from);
	return true;
}

bool refusals_move_or_fold(struct refusals *to, struct refusals *from) {
	if (to->fold == 0 && !is_full(to))
		return refusals_move(to, from);
	for (int i = 0; i < from->n; i++)
		if (!fold(to, &from->all[i]))
			return false; /* only the first can fail: nothing was folded */
	refusals_clear(from);
	return true;
}

/* The sentence of one that stands for many. */
static char *sentence_of_many(const struct refusal *one) {
	AUTO_BUF struct buf why = { 0 };
	buf_printf(
		&why,
		"this line and %llu more up to line %llu are no rows, and are told together: there are too many "
		"(their text is in the file itself); of this one: %s",
		(unsigned long long)one->more, (unsigned long long)one->last, one->why);
	return buf_take(&why);
}

/* Who reads the sentence finds it counted. */
static void tell(struct engine *engine, const struct rejection *rejection, uint64_t lines) {
	atomic_fetch_add(&engine->count->errors, 1);
	atomic_fetch_add(&engine->count->lines_rejected, lines);
	report_rejection(engine->report, rejection);
}

int refusal_tell(const struct refusal *one, struct engine *engine, const char *path) {
	AUTO_FREE char *many = one->more > 0 ? sentence_of_many(one) : NULL;
	const char *why = many != NULL ? many : one->why;
	const struct rejection rejection = {
		.path = path,
		.line = one->number,
		.more = one->more,
		.last = one->last,
		.data = one->text,
		.len = one->len,
		.keep = one->len > 0 || one->more > 0,
		.errnum = one->errnum,
		.sqlstate = one->sqlstate,
		.sentence = why,
	};
	tell(engine, &rejection, one->more + 1);
	return -one->errnum;
}

int refusals_tell(const struct refusals *list, struct engine *engine, const char *path) {
	int first = 0;
	for (int i = 0; i < list->n; i++)
		keep_first(&first, refusal_tell(&list->all[i], engine, path));
	return first;
}

/* -- without a list ---------------------------------------------------------------------------- */

bool refuse_is_input_error(int rc) {
	return rc == -EINVAL || rc == -EEXIST || rc == -ENOENT || rc == -EFBIG ||
	       rc == -ENAMETOOLONG;
}

int refuse_input(struct engine *engine, const char *path, uint64_t line, const char *data,
		 size_t len, int rc, struct db_error *err) {
	const struct rejection rejection = {
		.path = path,
		.line = line,
		.data = data != NULL ? data : "",
		.len = len,
		.keep = len > 0 || line > 0,
		.errnum = -rc,
		.sqlstate = err->sqlstate,
		.sentence = err->sentence != NULL ? err->sentence : strerror(-rc),
	};
	tell(engine, &rejection, line > 0);
	db_error_clear(err);
	return rc;
}
