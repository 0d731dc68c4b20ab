/* The command `rowfs init`: its arguments; what it does is in init/. */
#pragma once

#include "fs/options/options.h"

/* Runs the command; ARGV[0] is "init". Arguments that hold a secret are overwritten. Returns the
 * exit status: 0, 1 if something could not be done, 2 after a mistake in the arguments. */
MUST_USE int rowfs_init(int argc, char **argv);
