/* Comparing one file of the old tree with what the mount shows. */
#pragma once

#include "import/state.h"

/* Bytes for ingest and plain files; everything else by what it says. Each difference is a line
 * "PATH:LINE: sentence" on standard output. Returns how many there are. */
uint64_t verify_item(struct import *im, const struct item *item);
/* True if there is none; tells nothing. */
MUST_USE bool verify_same(struct import *im, const struct item *item);
