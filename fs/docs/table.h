/* Many rows as one JSON document: writing it. */
#pragma once

#include "fs/core/call.h"
#include "fs/inodes/node.h"

/* Makes the rows of the file at W what the document says, in one transaction: all of it or nothing.
 * The rows of the file at FROM (NULL: none) go in it. Returns 0 or -errno with call->err saying
 * why. Thread-safe. */
MUST_USE int table_store(struct call *call, const struct where *w, const struct where *from,
			 const char *json, size_t len);
