/* What of a pack's objects is otherwise in the database than the pack needs: docs/PACKS.md. */
#pragma once

#include "db/query.h"

enum differ {
	DIFFER_DEPLOYED, /* as it was noted when the pack was deployed, with the reason */
	DIFFER_NOW,      /* compared now; nothing is changed */
};

/* Prints to stdout, for each object of PACK that differs, a line "type identity sentence; so this
 * does not hold: promise", indented. Returns 0, or -errno with ERR filled. Thread-safe. */
MUST_USE int differ_print(struct db_pool *pool, const char *pack, enum differ when,
			  struct db_error *err);

/* The same of all packs that are in the database, each with a line before it. Nothing where there
 * is no pack, or the role may not read what is noted. */
MUST_USE int differ_print_all(struct db_pool *pool, struct db_error *err);
