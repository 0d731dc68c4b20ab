#include "fs/stream/source.h"

#include <stdlib.h>
#include <string.h>

struct source *source_new(const char *path) {
	struct source *source = calloc(1, sizeof(*source));
	if (source == NULL || (source->path = strdup(path)) == NULL) {
		free(source);
		return NULL;
	}
	source->users = 1;
	return source;
}

struct source *source_hold(struct source *source) {
	atomic_fetch_add(&source->users, 1);
	return source;
}

void source_drop(struct source *source) {
	if (source == NULL || atomic_fetch_sub(&source->users, 1) > 1)
		return;
	if (source->of_lane != NULL)
		atomic_fetch_sub(source->of_lane, 1);
	free(source->path);
	free(source);
}

void source_tell(struct source *source, struct engine *engine, const struct refusal *one,
		 bool given_up) {
	int none = 0, rc = refusal_tell(one, engine, source->path);
	atomic_compare_exchange_strong(given_up ? &source->given_up : &source->refused, &none, rc);
}
