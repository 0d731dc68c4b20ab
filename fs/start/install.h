/* What rowfs has in the tables themselves: triggers that keep the sizes of rows files, and triggers
 * that tell mounts of changes. Nothing here is made unless the user asks for it (rowfs check
 * --install, rowfs init --follow): a mount uses what is there, and says what is missing. */
#pragma once

#include "fs/core/fs.h"

/* For `rowfs check`, after slices_open() and slices_compare(): prints a line for each table
 * about its triggers, and what they cost. With MAKE, first makes those that tell of changes, and
 * forgets what failing triggers have noted. Returns false if that could not be found out; stderr
 * says why. */
MUST_USE bool install_report(struct fs *fs, bool make);

/* Says on stderr what does not hold because of what the schema rowfs is, and which command helps.
 * Of a MOUNT not that there is none: notes_part says it. */
void install_version(struct fs *fs, bool mount);
