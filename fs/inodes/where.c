#include "fs/inodes/where.h"

#include <string.h>

void where_free(struct where *w) {
	for (int i = 0; i < PATH_KEYS_MAX; i++)
		free(w->keys[i]);
	free(w->path);
	memset(w, 0, sizeof(*w));
}

bool where_copy(struct where *to, const struct where *from) {
	to->place = from->place;
	to->path = strdup(from->path);
	bool ok = to->path != NULL;
	for (int i = 0; i < PATH_KEYS_MAX && ok; i++)
		ok = from->keys[i] == NULL || (to->keys[i] = strdup(from->keys[i])) != NULL;
	return ok;
}

int where_params(const struct where *w, struct db_param *params) {
	for (int i = 0; i < w->place->nparams; i++)
		params[i] = db_text(w->keys[i]);
	return w->place->nparams;
}
