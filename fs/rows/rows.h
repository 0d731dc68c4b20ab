/* The kind of rows files: a slice of a table as lines. */
#ifndef ROWFS_FS_ROWS_ROWS_H
#define ROWFS_FS_ROWS_ROWS_H

#include "fs/core/kind.h"

extern const struct kind rows_kind;

#endif
