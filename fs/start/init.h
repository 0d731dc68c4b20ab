/* The command `rowfs init`: its arguments; what it does is in init/. */
#ifndef ROWFS_FS_START_INIT_H
#define ROWFS_FS_START_INIT_H

#include "fs/options/options.h"

/* Runs the command; ARGV[0] is "init". Arguments that hold a secret are overwritten. Returns the
 * exit status: 0, 1 if something could not be done, 2 after a mistake in the arguments. */
MUST_USE int rowfs_init(int argc, char **argv);

/* What -o enable_migrations does at mount: deploys what rowfs keeps for itself, and nothing else.
 * To be called before there are threads. Returns the exit status. */
MUST_USE int rowfs_init_core(const struct options *opt);

#endif
