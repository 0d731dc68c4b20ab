/* A file without a name below state_dir: a copy of an ingest file that is being changed, or a
 * document that is too large for memory. It goes with its last reference, also when rowfs is
 * killed. Its bytes, holes included, are on the account of the disk. References are counted
 * thread-safely; all else is its owner's to guard. */
#pragma once

#include "fs/core/call.h"

struct scratch;

/* An empty one with one reference. WHAT says in messages what it is for ("a copy of the file").
 * Returns 0, or -errno with ERR. */
MUST_USE int scratch_new(struct fs *fs, const char *what, struct scratch **out,
			 struct db_error *err);
struct scratch *scratch_hold(struct scratch *file);
/* NULL is fine. */
void scratch_release(struct scratch *file);

/* Writes all LEN bytes, or returns -errno with ERR: ENOSPC where disk_max or the disk is full. What
 * was there stays then. */
MUST_USE int scratch_write(struct scratch *file, const char *data, size_t len, uint64_t offset,
			   struct db_error *err);
/* The same for a change of its size. */
MUST_USE int scratch_resize(struct scratch *file, uint64_t size, struct db_error *err);
/* Takes room for SIZE bytes in all, so that writing them does not fail for disk_max half-way. */
MUST_USE int scratch_reserve(struct scratch *file, uint64_t size, struct db_error *err);

/* Appends to OUT up to SIZE bytes from OFFSET on. Returns 0 or -errno. */
MUST_USE int scratch_read(const struct scratch *file, size_t size, uint64_t offset,
			  struct buf *out);
uint64_t scratch_size(const struct scratch *file);
/* Its descriptor, for reading only; -1 for NULL. */
int scratch_fd(const struct scratch *file);
