/* `rowfs init`: puts what rowfs keeps for itself, and packs, into a database, and takes them out
 * again. sqitch does it, change by change; this says what is to be done, in which order, and what
 * is in the way. One process with one thread. */
#ifndef ROWFS_INIT_INIT_H
#define ROWFS_INIT_INIT_H

#include "db/pool.h"
#include "init/pack.h"

struct init {
	const struct db_config *db; /* which database, as whom; one connection is made */
	const char *schema;         /* where the tables of packs go; NULL: see rowfs.pack_begin() */
	const char **packs;         /* names that packs_find() knows */
	int npacks;
	const char *function; /* init_replace(): its name, or its identity */
	bool with_data;       /* init_remove(): rows may go, too */
	bool quiet;           /* nothing on stdout where nothing was done */
	bool verbose;         /* sqitch's own words go to stderr */
};

/* Each returns the exit status: 0, or 1 with a sentence on stderr. What was done is said on
 * stdout. */

/* Deploys the core and the packs, whatever is missing of them. A database that has the single
 * project of before is upgraded. After a failure the database is as it was. */
MUST_USE int init_deploy(const struct init *init, const struct packs *packs);

/* Says what init_deploy() would make, take and find to differ, and changes nothing. */
MUST_USE int init_rehearse(const struct init *init, const struct packs *packs);

/* Brings what is deployed to the newest. */
MUST_USE int init_upgrade(const struct init *init, const struct packs *packs);

/* Says what is deployed. 1 also if something is older or newer than this program. */
MUST_USE int init_status(const struct init *init, const struct packs *packs);

/* Puts the pack's function in the place of the one that was there before; INIT names one pack.
 * Taking the pack out gives the old one back. */
MUST_USE int init_replace(const struct init *init, const struct packs *packs);

/* Takes out the packs; all packs and the core, if there are none in INIT. */
MUST_USE int init_remove(const struct init *init, const struct packs *packs);

#endif
