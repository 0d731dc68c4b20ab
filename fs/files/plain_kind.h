/* The kind of plain files. */
#ifndef ROWFS_FS_FILES_PLAIN_KIND_H
#define ROWFS_FS_FILES_PLAIN_KIND_H

#include "fs/core/kind.h"

extern const struct kind plain_kind;

#endif
