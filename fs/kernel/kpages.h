/* The kernel's pages of a document, filled when it is opened: so that reading it takes no
 * request. */
#pragma once

#include "fs/core/fs.h"
#include "fs/open/handle.h"

/* Gives the kernel what H, which is `cached` and not open to its program yet, has in memory; once
 * for each node. What the kernel does not take or has dropped again, it reads. Thread-safe. */
void kpages_give(struct fs *fs, struct handle *h);
