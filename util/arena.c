#include "util/arena.h"

#include "util/list.h"

#include <string.h>

void *arena_keep(struct arena *arena, void *owned) {
	if (owned != NULL && list_room(arena->pieces, arena->n))
		return arena->pieces[arena->n++] = owned;
	free(owned);
	arena->failed = true;
	return NULL;
}

void *arena_alloc(struct arena *arena, int n, size_t size) {
	return arena_keep(arena, calloc((size_t)n + 1, size));
}

char *arena_strdup(struct arena *arena, const char *s) {
	return arena_keep(arena, strdup(s));
}

void arena_free(struct arena *arena) {
	for (int i = 0; i < arena->n; i++)
		free(arena->pieces[i]);
	free(arena->pieces);
	*arena = (struct arena){ 0 };
}
