/* What of rowfs a database has: which changes of which projects, and whether it can have more. */
#pragma once

#include "db/query.h"
#include "init/pack.h"

/* Of one project. */
struct deployed {
	int last;     /* the place of the last change that is deployed in the plan; -1: none */
	int old;      /* the same in the registry `sqitch`, where projects were kept before */
	bool same;    /* what is there was made by the scripts of today's plan */
	bool foreign; /* a change is deployed that the plan does not have: it is newer */
};

struct state {
	bool standby;        /* nothing can be written */
	bool pooler;         /* it was reached through one */
	bool can_create;     /* we may make schemas */
	bool schema;         /* the schema rowfs is there */
	bool owned;          /* by us, or by a role that we may be */
	bool registry;       /* sqitch has its tables in it */
	bool old;            /* the single project is in the registry `sqitch` */
	char *me, *owner;    /* roles; owned. OWNER is NULL without the schema */
	char *strange;       /* some things in the schema that rowfs did not make, or NULL; owned */
	struct deployed *of; /* each of the packs; owned */
	int mounts;          /* that are up, of this database */
};

/* Asks the database. Returns 0, or -errno with ERR filled. state_free() in both cases. For one
 * thread. */
MUST_USE int state_load(struct db_pool *pool, const struct packs *packs, struct state *state,
			struct db_error *err);
void state_free(struct state *state);

/* Why nothing can be deployed or reverted; false if something can. */
bool state_refuses(const struct state *state, const struct packs *packs, struct buf *why);

/* Drops what sqitch keeps in the schema rowfs, and the schema, where no project is left in it.
 * Returns 0, or -errno with ERR filled. */
MUST_USE int state_drop_registry(struct db_pool *pool, struct db_error *err);

/* Takes the single project out of the registry `sqitch`, and drops that where nobody else is in it.
 * Returns 0, or -errno with ERR filled. */
MUST_USE int state_drop_old(struct db_pool *pool, struct db_error *err);
