/* The kinds of files that are documents. */
#pragma once

#include "fs/core/kind.h"

extern const struct kind row_kind, column_kind, table_kind, query_kind;
