/* The kind of plain files. */
#pragma once

#include "fs/core/kind.h"

extern const struct kind plain_kind;
