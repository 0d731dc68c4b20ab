/* What a layout names and the database does not have, where the layout says that it can do without
 * ("optional"): which routes and timers are left out because of it; and what it may not read that
 * tells which file is which. Private to schema/, but for the
 * sentences. */
#pragma once

#include "schema/layout/layout.h"

/* One table, view, function or column that is missing. */
struct lack {
	const char *kind; /* "table or view", "view or function", "table", "function"; a literal */
	char *relation;   /* as the layout writes it, or a function's name */
	char *column;     /* NULL: the relation or function itself is missing */
	bool timer;       /* a timer calls it */
	bool mtime;       /* "tables" names it as an "mtime" */
	bool denied;      /* it is there, and the mount's role may not read it */
};

struct lacks {
	struct arena *memory; /* the tree's */
	struct lack *list;
	int n;
	int *of; /* for each route of the layout: 1 + the index of what it lacks, 0: nothing */
};

/* The entry of COLUMN (NULL: none) of RELATION, made where it is new. NULL if out of memory; valid
 * until the next call. */
struct lack *lacks_add(struct lacks *lacks, const char *kind, const char *relation,
		       const char *column);

/* True if a route that is left out has PATH, or begins with it. */
bool lacks_path(const struct lacks *lacks, const struct layout *layout, const char *path);

/* Appends one sentence, of entry I: `table or view x does not exist; left out: /a, /b/{x.id}`. A
 * path stands for all routes below it, if all of them are left out because of this entry. */
void lacks_put(const struct lacks *lacks, const struct layout *layout, int i, struct buf *out);
