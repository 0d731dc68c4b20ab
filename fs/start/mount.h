/* The commands: serve a database as a directory, say whether a layout fits it, or install what the
 * layout needs in the tables. */
#pragma once

#include "fs/options/options.h"
#include "util/cleanup.h"

/* Mounts and, in the foreground, serves until it is unmounted or a signal ends it. In the
 * background it returns in the process that called it, as soon as the mount answers or has failed.
 * What went wrong is told on stderr. Returns the exit status of the process: 0, or 1 (nothing is
 * mounted). */
MUST_USE int rowfs_mount(const struct options *opt);

/* Reads opt->layout (the default layout if NULL), connects and compares the two. Every mistake is a
 * line on stderr. Returns the exit status of the process: 0 if the layout fits, otherwise 1.
 * INSTALL makes the triggers that the layout needs, too: those that keep the sizes of rows files,
 * and those that tell mounts of changes. Says on stdout, table by table, which there are and what
 * they cost. What is there is left as it is. A table whose triggers cannot be made is told, and no
 * error. `rowfs check --install` and `rowfs init --follow` are this. */
MUST_USE int rowfs_check(const struct options *opt, bool install);
