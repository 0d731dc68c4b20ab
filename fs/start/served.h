/* What is served: the layout, the database, and the tree that the two make. */
#pragma once

#include "fs/core/fs.h"
#include "schema/count/watch.h"

/* Reads the layout, connects, and builds the tree. HOW says what may be done about slices. Tells
 * every mistake on stderr. Returns false after one; served_close() is due in any case. */
MUST_USE bool served_open(struct fs *fs, enum watch_how how);
void served_close(struct fs *fs);
