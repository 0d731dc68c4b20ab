/* A place with the values of its keys: which rows are meant. A copy of its own, so that it stays
 * true while nodes are renamed and forgotten. */
#pragma once

#include "db/query.h"
#include "schema/layout/tree.h"

enum { WHERE_PARAMS = PATH_KEYS_MAX + 8 }; /* keys, and what a statement takes besides */

struct where {
	const struct place *place;
	char *keys[PATH_KEYS_MAX]; /* owned; as many as place->nparams */
	char *path;                /* from the mount's root, for messages; owned */
};

#define AUTO_WHERE __attribute__((cleanup(where_free)))

void where_free(struct where *w);
/* TO is empty. Returns false if out of memory; it is to be freed all the same. */
MUST_USE bool where_copy(struct where *to, const struct where *from);

/* Fills PARAMS (room for WHERE_PARAMS) with W's keys. Returns their number. Borrowed from W. */
int where_params(const struct where *w, struct db_param *params);
