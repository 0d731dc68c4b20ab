/* Copying one file onto the mount. */
#pragma once

#include "import/state.h"

/* Copies the item. When it returns 0 the mount has acknowledged it, and the journal says so.
 * Otherwise -errno, with a sentence in WHY; -ECANCELED if it was stopped. */
MUST_USE int copy_item(struct import *im, struct item *item, struct buf *why);
