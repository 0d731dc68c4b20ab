/* The schema's migrations (schema/, a sqitch project), deployed at mount where -o enable_migrations says so. */
#ifndef ROWFS_FS_MIGRATE_H
#define ROWFS_FS_MIGRATE_H

#include "fs/options.h"
#include "util/cleanup.h"

/* Runs `sqitch deploy` for the database of OPT, output on stderr; changes that are deployed already are left alone. The connection's
 * parameters go through libpq's environment variables, so that no secret is in an argument. To be called before there are
 * threads. Returns 0, or -1 after telling why on stderr. */
MUST_USE int migrate(const struct options *opt);

#endif
