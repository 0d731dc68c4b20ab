/* An orphan is a file without a row that may get one by a rename: a column's file of a row that
 * does not exist, or a document that says another row than its name. A program that saves by a
 * temporary file beside the old one writes and closes such a file first, where any name is a key.
 * So it is kept as a plain file. The rename onto a file that has a row gives it its place. What is
 * not renamed within a minute, or when the mount ends, had no row to go to: it goes to rejected/,
 * and is told. Thread-safe. */
#pragma once

#include "fs/core/call.h"

/* Makes PATH a plain file of these LEN bytes that waits. Returns 0 or -errno. */
MUST_USE int orphans_keep(struct call *call, const char *path, const char *data, size_t len);

/* Gives up what has waited for a minute; ALL, at the end of a mount: everything. */
void orphans_tend(struct fs *fs, bool all);
