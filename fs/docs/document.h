/* The kinds of files that are documents. */
#ifndef ROWFS_FS_DOCS_DOCUMENT_H
#define ROWFS_FS_DOCS_DOCUMENT_H

#include "fs/core/kind.h"

extern const struct kind row_kind, column_kind, table_kind, query_kind;

#endif
