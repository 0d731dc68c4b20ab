/* /.rowfs: what the mount says of itself. Generated text, a snapshot at each look-up; rejected/
 * holds real files. */
#pragma once

#include "fs/core/call.h"
#include "fs/inodes/node.h"
#include "fs/core/kind.h"
#include "fs/open/handle.h"

extern const struct kind control_kind;
