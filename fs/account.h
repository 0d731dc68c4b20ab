/* What a mount holds for its programs, in bytes, and the most that it may. So no number of files
 * makes the disk of state_dir full. Zeroed with `most` set is an empty one. Thread-safe. */
#ifndef ROWFS_FS_ACCOUNT_H
#define ROWFS_FS_ACCOUNT_H

#include "util/cleanup.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct account {
	uint64_t most; /* set once */
	atomic_ullong used;
};

/* Takes BYTES. Returns false, with nothing taken, if that would be more than the most. */
MUST_USE bool account_take(struct account *account, uint64_t bytes);
/* Takes BYTES that are there already, whatever the most is. */
void account_force(struct account *account, uint64_t bytes);
void account_give(struct account *account, uint64_t bytes);

uint64_t account_used(struct account *account);
/* Bytes that can still be taken. */
uint64_t account_left(struct account *account);

#endif
