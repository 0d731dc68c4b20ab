/* Rows files that cannot be replaced in one transaction: too big, or the layout refuses it. They
 * are appended in pieces. */
#pragma once

#include "import/state.h"

/* Appends the item's lines; after each piece the journal notes how far. A resumed item goes on
 * where its rows on the mount end. Returns 0; -errno with a sentence in WHY. */
MUST_USE int lines_append(struct import *im, struct item *item, struct buf *why);
