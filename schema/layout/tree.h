/* The route tree: a layout checked against the catalog. Immutable once built: any thread may read
 * it. */
#pragma once

#include "schema/layout/match.h"
#include "schema/layout/slice.h"

/* Builds the tree, without its statements: sql_build() makes them. Every mistake of the layout
 * against the catalog is one line in MISTAKES, naming route, key and column. Returns NULL if there
 * was any, here or before (MISTAKES is not empty). LAYOUT and CATALOG are borrowed and must outlive
 * the tree.
 *
 * BEFORE is the tree of the same layout text that is served now, or NULL. If there is one, the
 * database has changed under it, and that is no mistake: what was served and does not fit any more
 * becomes a place that says why (`misfit`). What was left out stays so. */
MUST_USE struct tree *tree_build(const struct layout *layout, const struct catalog *catalog,
				 const struct tree *before, struct buf *mistakes);

/* True if the names of DIR that the database has are not known: a place with keys in it does not
 * fit. *WHY is its sentence, borrowed. */
bool tree_misses_names(const struct place *dir, const char **why);
void tree_free(struct tree *tree);
