/* The kind of rows files: a slice of a table as lines. */
#pragma once

#include "fs/core/kind.h"

extern const struct kind rows_kind;
