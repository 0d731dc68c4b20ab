/* Names that were moved away and are hidden, while their row stays. An editor renames a document to
 * a plain file beside it, its backup, before it writes the new version under the old name. The name
 * is hidden until the name is made anew or the mount ends: a rename can not tell "save" from
 * "delete", and only one of them can be taken back. Thread-safe. */
#pragma once

#include "util/cleanup.h"

#include <stdbool.h>

struct moved;

void moved_hide(struct moved *moved, const char *path);
void moved_show(struct moved *moved, const char *path);
/* Shows all that is below directory PATH: its row was made, removed or renamed. */
void moved_show_below(struct moved *moved, const char *path);

/* True if anything is hidden at all: so that the usual look-up needs no path. */
bool moved_any(const struct moved *moved);
bool moved_has(struct moved *moved, const char *path);
