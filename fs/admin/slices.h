/* Slices at the start of a mount, and for `rowfs check`: looked at, counted anew or installed, with
 * progress on stderr. */
#pragma once

#include "fs/core/fs.h"
#include "schema/count/watch.h"

/* Finds out which of S, which nobody is served by yet, are usable; HOW says what may be done about
 * the others. Returns false if out of memory. */
MUST_USE bool slices_open(struct fs *fs, struct snapshot *s, enum watch_how how);
/* For `rowfs check`, after slices_open(): compares with the rows what look-ups go by, and with
 * WATCH_INSTALL counts anew what differs. Returns false if out of memory. */
MUST_USE bool slices_compare(struct fs *fs, enum watch_how how);
/* For `rowfs check`: one line for each table. */
void slices_print(const struct fs *fs);
/* "summary" of status.json: an object, table by table. */
void slices_json(const struct fs *fs, struct buf *out);
