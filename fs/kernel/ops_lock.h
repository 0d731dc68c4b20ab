/* The requests of flock(2) and fcntl(2); locks.h has the locks themselves. */
#pragma once

#include "fs/core/call.h"
#include "fs/open/handle.h"

void op_getlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct flock *lock);
void op_setlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct flock *lock,
	      int sleep);
void op_flock(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, int op);

/* Answers the requests that have waited and got their lock. Where locks went, when nothing is
 * held and no call is under way. WAITING: those that still wait, too, with EINTR, since the mount
 * ends; when nothing is served any more. */
void ops_lock_answer(struct fs *fs, bool waiting);
