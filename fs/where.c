#include "fs/where.h"

#include <string.h>

void where_free(struct where *w) {
	for (int i = 0; i < PATH_KEYS_MAX; i++)
		free(w->keys[i]);
	free(w->path);
	memset(w, 0, sizeof(*w));
}

int where_params(const struct where *w, struct db_param *params) {
	for (int i = 0; i < w->place->nparams; i++)
		params[i] = db_text(w->keys[i]);
	return w->place->nparams;
}
