/* `rowfs init`: puts what rowfs keeps for itself, and packs, into a database, and takes them out
 * again. sqitch does it, change by change; this says what is to be done, in which order, and what
 * is in the way. One process with one thread. */
#pragma once

#include "db/pool.h"
#include "init/pack.h"

struct init {
	const struct db_config *db; /* which database, as whom; one connection is made */
	const char *schema;         /* where the tables of packs go; NULL: see rowfs.pack_begin() */
	const char **packs;         /* names that packs_find() knows */
	int npacks;
	const char *function; /* INIT_REPLACE: its name, or its identity */
	bool with_data;       /* INIT_REMOVE: rows may go, too */
	bool quiet;           /* nothing on stdout where nothing was done */
	bool verbose;         /* sqitch's own words go to stderr */
};

enum init_action {
	/* Deploys the core and the packs, whatever is missing of them. A database that has the
	 * single project of before is upgraded. After a failure the database is as it was. */
	INIT_DEPLOY,
	INIT_REHEARSE, /* says what that would make, take and find to differ; changes nothing */
	INIT_STATUS,  /* says what is deployed. 1 also if something is older or newer than we are */
	INIT_UPGRADE, /* brings what is deployed to the newest */
	/* Puts the pack's function in the place of the one that was there before; one pack is
	 * named. Taking the pack out gives the old one back. */
	INIT_REPLACE,
	INIT_REMOVE, /* takes out the packs; all packs and the core, if none are named */
};

/* Returns the exit status: 0, or 1 with a sentence on stderr. What was done is said on stdout. */
MUST_USE int init_run(const struct init *init, const struct packs *packs, enum init_action action);
