/* How often each record was seen, by its hash. Bounded: bag_add() says so when it is full. Not
 * thread-safe. */
#pragma once

#include "import/record.h"

enum { BAG_MOST = 1 << 20 }; /* different records */

struct bag_entry {
	struct hash hash;
	int64_t count;
	uint64_t line; /* of one of them */
	bool used;
};

struct bag {
	struct bag_entry *entries; /* owned */
	size_t room, n;
};

#define AUTO_BAG __attribute__((cleanup(bag_free)))

void bag_free(struct bag *bag);
/* The record's entry, or NULL. Borrowed until the next bag_add(). */
struct bag_entry *bag_find(const struct bag *bag, struct hash hash);
/* Counts one. Returns 0, -E2BIG if the bag is full, or -ENOMEM. */
MUST_USE int bag_add(struct bag *bag, struct hash hash, uint64_t line);
