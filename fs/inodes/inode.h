/* The identity of a file, and the inode number that programs are shown.
 *
 * An identity has 64 bits. Locks, open files, removals and times go by it, so no two files of a
 * mount may share one. The inode number is a part of it: it has 53 bits, since JavaScript has no
 * larger whole numbers. Two names may share a number, at the odds that docs/architecture/look-up.md
 * says. All functions are pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { INODE_ROOT = 1, INODE_BITS = 53 };

/* The identity of NAME in the directory with identity ABOVE: the same for the same path at every
 * mount. Its number has about the order of the names. */
uint64_t inode_of_name(uint64_t above, const char *name);
/* The same of the literal name of the layout with index INDEX: the numbers of one directory have
 * the order of the indexes. */
uint64_t inode_of_literal(uint64_t above, int index);
/* The identity of the plain file that the plain store gives NUMBER, of which 51 bits count. */
uint64_t inode_of_plain(uint64_t number);
/* The identity of ingest file ID (rowfs.file.id; greater than 0, and less than 2^51). */
uint64_t inode_of_ingest(int64_t id);
/* The other way; 0 if it is no ingest file's. */
int64_t inode_ingest_id(uint64_t identity);

/* The inode number of IDENTITY: from 1 to 2^53 - 1. */
uint64_t inode_number(uint64_t identity);
