/* The FUSE session: options for libfuse, the mount, the loop. */
#ifndef ROWFS_FS_KERNEL_SESSION_H
#define ROWFS_FS_KERNEL_SESSION_H

#include "fs/core/fs.h"

#include <fuse_lowlevel.h>

struct ending;

/* Makes a session for FS and mounts it. Returns NULL after telling why on stderr. */
MUST_USE struct fuse_session *session_mount(struct fs *fs);

/* For intake.h, with the struct fs: true if a request never waits. */
bool session_is_quick(void *arg, const void *request, size_t size);

/* Serves until the mount ends or ENDING ends it; then unmounts and frees the session. */
void session_serve(struct fs *fs, struct fuse_session *se, struct ending *ending);

/* True if something of rowfs's is mounted at PATH already. */
bool session_is_mounted(const char *path);

#endif
