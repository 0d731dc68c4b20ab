/* The FUSE session: options for libfuse, the mount, the loop. */
#pragma once

#include "fs/core/fs.h"

/* Serves what session_part has mounted, until the mount ends or fs->ending ends it; then unmounts.
 * To be called once. */
void session_serve(struct fs *fs);

/* True if something of rowfs's is mounted at PATH already. */
bool session_is_mounted(const char *path);
