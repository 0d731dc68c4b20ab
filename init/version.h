/* Whether what rowfs keeps in a database is what this program knows. */
#pragma once

#include "db/query.h"

struct buf;

enum version {
	VERSION_SAME,
	VERSION_NONE,    /* there is no schema rowfs */
	VERSION_OLDER,   /* changes are missing, or it is of the single project of before */
	VERSION_NEWER,   /* it has a change that this program does not know */
	VERSION_UNKNOWN, /* this role may not read which changes are deployed */
};

/* Asks the database. Returns 0, or -errno with ERR filled. Thread-safe. */
MUST_USE int version_ask(struct db_pool *pool, enum version *out, struct db_error *err);

/* Appends a sentence that says what follows from V and which command helps, for the database
 * CONNINFO (without a password); TTL is the option, in seconds. Nothing for VERSION_SAME and
 * VERSION_UNKNOWN. */
void version_put(struct buf *out, enum version v, double ttl, const char *conninfo);
