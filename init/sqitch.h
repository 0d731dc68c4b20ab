/* Runs sqitch, which deploys and reverts the changes of a project (https://sqitch.org). */
#pragma once

#include "init/pack.h"
#include "init/program.h"

/* Runs `sqitch WORDS... db:pg:` (WORDS ends with NULL) in the directory of PACK. Returns 0, or
 * -errno with a sentence in WHY: what sqitch said, if it was started. To be called while there is
 * one thread. */
MUST_USE int sqitch_run(const struct program *p, const struct pack *pack, const char *const *words,
			struct buf *why);

/* What deploying the changes of PACK behind number LAST would do, as a script for psql: its scripts
 * without their BEGIN and COMMIT. Returns 0, or -errno. */
MUST_USE int sqitch_script(const struct program *p, const struct pack *pack, int last,
			   struct buf *out);
