/* Slices at the start of a mount: installed and counted where that is possible, with progress on stderr. */
#ifndef ROWFS_FS_SLICES_H
#define ROWFS_FS_SLICES_H

#include "fs/fs.h"

/* INSTALL false: only looks at what is there. Returns false if out of memory. */
MUST_USE bool slices_open(struct fs *fs, bool install);
/* For `rowfs check`, after slices_open(): compares with the rows what look-ups go by, and counts
 * anew what differs where INSTALL. Returns false if out of memory. */
MUST_USE bool slices_compare(struct fs *fs, bool install);
/* For `rowfs check`: one line for each table. */
void slices_print(const struct fs *fs);
/* "summary" of status.json: an object, table by table. */
void slices_json(const struct fs *fs, struct buf *out);

#endif
