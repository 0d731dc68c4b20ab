/* What the layout lets be changed: the only place that decides it. Everything that changes a file,
 * a name or a row asks here first. */
#pragma once

#include "fs/core/call.h"
#include "fs/inodes/node.h"
#include "fs/core/kind.h"

/* 0 if CHANGE is allowed at PLACE, or below it; NULL is no place: 0. Else -EROFS where nothing may
 * be changed, also of a mount with -o ro, -EPERM for a change that the layout, or a table that
 * others inherit from, does not allow, with a sentence that names the word. Thread-safe. */
MUST_USE int access_check(struct call *call, const struct place *place, enum change change);

/* The place of NODE, or, of a plain file or directory, that of the directory of the layout that it
 * is in. */
const struct place *access_place(const struct node *node);

/* Bytes that a text may have that replaces NODE's file (NULL: none is there): max_document; where
 * the file has more already, as many more than it has. Thread-safe. */
uint64_t text_most(struct fs *fs, const struct node *node);
