#include "fs/rows/texts.h"

#include "util/hash.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>

void texts_free(struct texts *t) {
	free(t->all);
	free(t->slots);
	*t = (struct texts){ 0 };
}

/* The slot of a text: its own, or the free one where it would be. */
static int *slot_of(const struct texts *t, const char *data, size_t len, unsigned hash) {
	size_t at = hash & (t->nslots - 1);
	while (t->slots[at] != 0) {
		const struct text *text = &t->all[t->slots[at] - 1];
		if (text->hash == hash && text->len == len && memcmp(text->data, data, len) == 0)
			break;
		at = (at + 1) & (t->nslots - 1);
	}
	return &t->slots[at];
}

/* Twice as much room. */
static bool texts_grow(struct texts *t) {
	size_t nslots = t->nslots > 0 ? t->nslots * 2 : 256;
	int *slots = calloc(nslots, sizeof(*slots));
	struct text *all = reallocarray(t->all, nslots / 2, sizeof(*all));
	t->all = all != NULL ? all : t->all;
	if (slots == NULL || all == NULL || nslots > INT_MAX) {
		free(slots);
		return false;
	}
	free(t->slots);
	t->slots = slots;
	t->nslots = nslots;
	for (int i = 0; i < t->n; i++)
		*slot_of(t, all[i].data, all[i].len, all[i].hash) = i + 1;
	return true;
}

int text_number(struct texts *t, const char *data, size_t len) {
	unsigned hash = (unsigned)hash_add(HASH_BEGIN, data, len);
	if ((size_t)t->n == t->nslots / 2 && !texts_grow(t))
		return -ENOMEM;
	int *slot = slot_of(t, data, len, hash);
	if (*slot == 0) {
		t->all[t->n] = (struct text){ .data = data, .len = len, .hash = hash, .line = -1 };
		*slot = ++t->n;
	}
	return *slot - 1;
}
