/* The FUSE session: options for libfuse, the mount, the loop. */
#ifndef ROWFS_FS_SESSION_H
#define ROWFS_FS_SESSION_H

#include "fs/fs.h"

#include <fuse_lowlevel.h>

/* Makes a session for FS and mounts it. Returns NULL after telling why on stderr. */
MUST_USE struct fuse_session *session_mount(struct fs *fs);

/* For intake.h, with the struct fs: true if a request never waits. */
bool session_is_quick(void *arg, const void *request, size_t size);

/* Blocks the signals that end a mount (SIGTERM, SIGINT, SIGHUP) in this thread and all that it will start. To be called before there are
 * other threads. */
void session_block_signals(void);

/* Serves until the mount ends or a signal comes; then unmounts and frees the session. */
void session_serve(struct fs *fs, struct fuse_session *se);

/* True if something of rowfs's is mounted at PATH already. */
bool session_is_mounted(const char *path);

#endif
