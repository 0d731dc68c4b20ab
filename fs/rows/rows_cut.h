/* Truncation of rows files.
 *
 * Lines that were written and are not committed belong to the file that is truncated, whoever wrote
 * them. So they are committed first, and go with the rows that the truncation deletes: if that is
 * refused, nothing is lost. Half a line that waits for its rest is dropped with the truncation: its
 * rest, if it comes, begins a line, as it would in any other file. So is a text that is to replace
 * all of the file, if it is cut to nothing. */
#pragma once

#include "fs/core/call.h"
#include "fs/inodes/node.h"
#include "fs/open/handle.h"

/* Before NODE's file is truncated to SIZE through H, or by path (H is NULL); no handle's lock is
 * held. Returns 0; 1 if that is no change; or -errno: then nothing has changed. */
MUST_USE int rows_before_truncate(struct call *call, struct node *node, struct handle *h,
				  uint64_t size);
/* The truncation itself; H's lock is held. */
MUST_USE int rows_truncate(struct call *call, struct handle *h, uint64_t size);

/* Before H's program writes; no handle's lock is held. What it writes stands behind the cuts of
 * others that are not committed yet, and is not to go with them. Returns 0 or -errno. */
MUST_USE int rows_before_write(struct call *call, struct handle *h);

/* Commits the whole lines that were written to NODE's file and wait; what is wrong with them is
 * told to their writers. False if there were none. */
bool rows_cut_commit(struct call *call, const struct node *node);
/* Drops the half lines that wait for their rest. ALL: and the texts that replace the file and are
 * not committed; who wrote them goes on behind them. */
void rows_cut_rest(struct call *call, const struct node *node, bool all);

/* NODE, which its process has made, is about to be renamed onto another file: commits what was
 * written to it, and has its open handles given (see handle.h). False if something of it waits,
 * such as a piece of a line: then nothing is given. */
bool rows_give(struct call *call, const struct node *node);
/* It was not renamed after all. */
void rows_give_not(struct call *call, const struct node *node);
