/* The route tree: a layout checked against the catalog. Immutable once built: any thread may read
 * it. */
#pragma once

#include "schema/layout/match.h"
#include "schema/layout/slice.h"

/* Builds the tree, without its statements: sql_build() makes them. Every mistake of the layout
 * against the catalog is one line in MISTAKES, naming route, key and column. Returns NULL if there
 * was any, here or before (MISTAKES is not empty). LAYOUT and CATALOG are borrowed and must outlive
 * the tree. */
MUST_USE struct tree *tree_build(const struct layout *layout, const struct catalog *catalog,
				 struct buf *mistakes);
void tree_free(struct tree *tree);
