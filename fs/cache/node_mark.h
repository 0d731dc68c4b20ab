/* What a notice does to the nodes: what has changed is not fresh any more, and the kernel is to
 * forget it. */
#pragma once

#include "fs/cache/forget.h"
#include "fs/inodes/node.h"
#include "schema/notice/notice.h"

enum { PLACES_DEEP = 64 }; /* components of a path */

/* Marks what stands under NAMES (N components, from the root on; the last is of PLACE). EPOCH is
 * the notice's number. What the kernel is to forget is added to *LIST. Returns true if it must not
 * trust any name: those below a directory that is another now may be in use, and stay when the
 * directory's name goes. Thread-safe. */
bool nodes_mark(struct nodes *nodes, const struct place *place, char *const *names, int n,
		enum notice_kind kind, unsigned long epoch, struct forget **list);

/* Adds to *LIST the directories and rows files of PLACE (NULL: of all), and their names if NAMES.
 * Marks none: see coherence.c. Thread-safe. */
void nodes_list(struct nodes *nodes, const struct place *place, bool names, struct forget **list);
