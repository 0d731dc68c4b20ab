/* The one reply that every request gets. */
#pragma once

#include "fs/core/call.h"
#include "fs/inodes/node.h"

/* The sentence of a failure RC (0: none) goes to errors.jsonl under NODE's path and NAME (may be
 * NULL). For what gets no reply, or got it already. */
void reply_told(struct call *call, const struct node *node, const char *name, int rc);

/* The same, and replies with -errno RC (0: success). */
void reply_status(struct call *call, const struct node *node, const char *name, int rc);

/* True if what has failed failed because the schema has changed since the one that NODE was found
 * in, and another one is served now: it is to be tried again, and call->err is cleared. Waits for
 * that, but not long. With no lock held. */
bool reply_schema_changed(struct call *call, const struct node *node);

/* From here on no interrupt reaches the call: to be called before any other fuse_reply_*(). */
void reply_begin(struct call *call);

/* NODE as the kernel wants it told. */
struct fuse_entry_param reply_entry_param(struct fs *fs, struct node *node);

void reply_entry(struct call *call, struct node *node);
/* The name is not there, and the kernel may keep that for SECONDS. */
void reply_absent(struct call *call, double seconds);
/* H, which may be NULL, is the handle that the program asks by: one that writes a document sees its
 * own bytes. */
void reply_attr(struct call *call, struct node *node, const struct handle *h);

/* The node of an inode number that the kernel sent. */
struct node *node_of(struct fs *fs, fuse_ino_t ino);
