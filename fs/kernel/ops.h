/* The kernel's requests, each translated: find the node, ask its kind, send one reply. ops_file.c:
 * attributes and files; ops_dir.c: directories; ops_lock.c: locks; ops_name.c and ops_rename.c:
 * names. */
#ifndef ROWFS_FS_KERNEL_OPS_H
#define ROWFS_FS_KERNEL_OPS_H

#include "fs/core/call.h"
#include "fs/inodes/node.h"

/* The table for fuse_session_new(). The session's user data is the struct fs. */
extern const struct fuse_lowlevel_ops rowfs_ops;

/* The open file that a request is about. */
static inline struct handle *handle_of(const struct fuse_file_info *fi) {
	return (struct handle *)(uintptr_t)fi->fh;
}

/* ops_dir.c */
void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		    struct fuse_file_info *fi);
void op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
void op_statfs(fuse_req_t req, fuse_ino_t ino);
void op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);

/* ops_name.c */
void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);
void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);
void op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name);
/* Directories of the plain store that only led to a plain file go with NODE, the last of them: one
 * that is left behind would look like a directory that waits for its row. */
void ops_prune(struct call *call, const struct node *node);

/* ops_rename.c */
void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
	       const char *newname, unsigned flags);

#endif
