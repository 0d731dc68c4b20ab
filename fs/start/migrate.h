/* -o enable_migrations: what `rowfs init` does, at the start of a mount. */
#ifndef ROWFS_FS_START_MIGRATE_H
#define ROWFS_FS_START_MIGRATE_H

#include "fs/options/options.h"

/* Deploys what rowfs keeps for itself, and nothing else. To be called before there are threads.
 * What goes wrong is told on stderr. Returns the exit status: 0, or 1. */
MUST_USE int migrate_core(const struct options *opt);

#endif
