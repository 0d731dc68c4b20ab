/* The registry: which kinds of file there are, and which kind a file is of. */
#pragma once

#include "fs/core/kind.h"
#include "fs/open/handle.h"

/* For fs->kinds. */
extern const struct kinds all_kinds;

/* The kind of the files at PLACE, or of directories; and of NODE. */
const struct kind *kind_of_place(const struct place *place);
const struct kind *kind_of_node(const struct node *node);
