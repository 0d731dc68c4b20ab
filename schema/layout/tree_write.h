/* What a layout says may be changed, place by place. */
#pragma once

#include "schema/layout/place.h"

/* Fills `write` and `stays` of all places of TREE. The nearest word counts: the route's own, else
 * that of the longest path of the layout's "write" above it, else all. A path that no place has is
 * a line in MISTAKES. */
void tree_set_write(struct tree *tree, const struct layout *layout, struct buf *mistakes);
