/* Memory of many pieces that is freed as a whole: of what is built once and then only read. Zero-
 * initialise. Belongs to one thread at a time. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct arena {
	void **pieces;
	int n;
	bool failed; /* there was no memory for a piece: what was built is not whole */
};

/* Takes over OWNED, which malloc() made, and returns it. NULL, and the arena has failed: OWNED is
 * NULL, or there was no memory to note it. */
void *arena_keep(struct arena *arena, void *owned);
/* N items of SIZE bytes, all zero, and one more behind them. NULL: as above. */
void *arena_alloc(struct arena *arena, int n, size_t size);
/* A copy of the C string S. NULL: as above. */
char *arena_strdup(struct arena *arena, const char *s);
void arena_free(struct arena *arena);
