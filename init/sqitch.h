/* Runs sqitch, which deploys and reverts the changes of a project (https://sqitch.org). */
#ifndef ROWFS_INIT_SQITCH_H
#define ROWFS_INIT_SQITCH_H

#include "init/pack.h"

struct sqitch {
	const char *conninfo; /* may hold a password: it goes through libpq's variables */
	const char *schema;   /* where unqualified objects go */
	const char *role;     /* to be: the owner of the schema rowfs; NULL: as it logs in */
	const char *root;     /* of the projects */
	bool verbose;         /* what it says goes to stderr as it comes */
};

/* Runs `sqitch WORDS... db:pg:` (WORDS ends with NULL) in the directory of PACK. Returns 0, or
 * -errno with a sentence in WHY: what sqitch said, if it was started. To be called while there is
 * one thread. */
MUST_USE int sqitch_run(const struct sqitch *sqitch, const struct pack *pack,
			const char *const *words, struct buf *why);

#endif
