/* Look-ups that follow a listing of names alone: `grep -r` and others read all names first, and
 * then ask for one after the other. Instead of a query for each, the directory is listed a second
 * time, with attributes and small bodies, a page whenever some look-ups had to ask the database.
 * Its nodes wait here until the kernel asks for them. Thread-safe. */
#pragma once

#include "fs/core/call.h"
#include "fs/inodes/node.h"

/* COUNT names of directory DIR were listed without attributes, up to the end. */
void prefetch_listed(struct fs *fs, struct node *dir, uint64_t count);
/* A look-up of CALL in DIR had to ask the database. */
void prefetch_missed(struct call *call, struct node *dir);
