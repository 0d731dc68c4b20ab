/* Slices: triggers that keep the summary, and the first count of what is there. */
#pragma once

#include "db/query.h"
#include "schema/layout/place.h"

/* Told while a table is counted, which may take long. */
typedef void (*watch_progress_fn)(void *arg, const struct relation *rel, int percent);

/* What may be done about a slice that is not usable. */
enum watch_how {
	WATCH_LOOK, /* nothing: nothing in the database changes */
	/* its files are counted anew, if it is installed and all its triggers are there */
	WATCH_REPAIR,
	WATCH_INSTALL, /* its triggers are made, too */
};

/* Says of each slice of TREE whether it is usable, and why not; makes it so as far as HOW allows
 * and it is possible: one transaction for each table, in which its writers wait. Then makes the
 * statements of the places anew that go by their slices. POOL should have no limit on the time of
 * a statement or a transaction. Not being able to is no error: the statements go without the
 * summary then. Returns 0 or -ENOMEM. For one thread, before the tree is shared. */
MUST_USE int watch_tree(struct db_pool *pool, struct tree *tree, enum watch_how how,
			watch_progress_fn progress, void *arg);

/* Counts all rows anew where TREE goes by a summary, and compares; writers do not wait. What
 * differs is in `differed`, and not usable. With WATCH_INSTALL it is noted as in doubt, and
 * counted anew; otherwise nothing in the database changes. The rest as there. */
MUST_USE int watch_compare(struct db_pool *pool, struct tree *tree, enum watch_how how,
			   watch_progress_fn progress, void *arg);

/* Looks whether rows still arrive in the tables as they are sent. Where somebody has made a
 * trigger, rule or policy since, the slices are no longer counted by writers, and in doubt until
 * they are counted anew. So are all whose triggers can write nothing down any more. 0 or -errno
 * with ERR filled. For one thread at a time, while others use TREE. */
MUST_USE int watch_again(struct db_pool *pool, struct tree *tree, struct db_error *err);

/* Brings what triggers have noted into the summary; cheap where there is nothing. Repeatable. */
extern const char watch_fold_sql[];
