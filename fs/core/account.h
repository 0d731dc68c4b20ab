/* What a mount holds for its programs, in bytes, and the most that it may: one account for the
 * disk of state_dir, one for memory. So no number of files makes either of them full. Zeroed with
 * `most` set is an empty one. Thread-safe. */
#pragma once

#include "util/buf.h"

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

/* Makes room in B, whose capacity is part of *COUNTED, for LEN bytes in all. Returns false, with
 * all as it was, if the account or the memory of the machine is full. */
MUST_USE bool account_grow(struct account *account, uint64_t *counted, struct buf *b, size_t len);
/* What *COUNTED stands for are NOW bytes. */
void account_recount(struct account *account, uint64_t *counted, uint64_t now);

uint64_t account_used(struct account *account);
/* Bytes that can still be taken. */
uint64_t account_left(struct account *account);
