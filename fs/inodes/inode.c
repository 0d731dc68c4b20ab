#include "fs/inodes/inode.h"

#include "util/hash.h"

/* An identity: two bits say what it is of. Of a path, then 16 bits tell the order and 46 bits are a
 * hash; the number has the 16 bits and the low 36 of the hash. Of a file, the number has one bit
 * less than the rest. */
enum {
	KIND_SHIFT = 62,
	HASH_BITS = 46,
	SHOWN_BITS = 36,
	FILE_BITS = 51,
	ORDER_CHARACTERS = 4,
	ORDER_BITS = 4,
	LITERAL_BITS = 12,
};

enum kind { OF_PATH, OF_PLAIN = 2, OF_INGEST = 3 };

static uint64_t low(uint64_t value, int bits) {
	return value & ((UINT64_C(1) << bits) - 1);
}

static uint64_t with_kind(enum kind kind, uint64_t rest) {
	return (uint64_t)kind << KIND_SHIFT | rest;
}

static enum kind kind_of(uint64_t identity) {
	return (enum kind)(identity >> KIND_SHIFT);
}

/* Where C stands among characters, in four bits: digits, four groups of letters, others. */
static uint64_t order_of(unsigned char c) {
	if (c >= '0' && c <= '9')
		return 1 + (uint64_t)(c - '0');
	unsigned char letter = c | 0x20;
	if (letter >= 'a' && letter <= 'z')
		return 11 + (uint64_t)(letter - 'a') * 4 / 26;
	return c < '0' ? 0 : 15;
}

/* FNV's low bits hardly depend on each other's: all of HASH goes into each bit, by the last step of
 * MurmurHash3 (fmix64, Austin Appleby). */
static uint64_t mixed(uint64_t hash) {
	hash = (hash ^ (hash >> 33)) * UINT64_C(0xff51afd7ed558ccd);
	hash = (hash ^ (hash >> 33)) * UINT64_C(0xc4ceb9fe1a85ec53);
	return hash ^ (hash >> 33);
}

/* No number is 0 or the root's. */
static uint64_t of_path(uint64_t order, uint64_t hash) {
	uint64_t shown = low(hash, SHOWN_BITS);
	return with_kind(OF_PATH,
			 order << HASH_BITS | (shown > INODE_ROOT ? low(hash, HASH_BITS)
								  : low(hash, HASH_BITS) + 2));
}

uint64_t inode_of_name(uint64_t above, const char *name) {
	uint64_t order = 0;
	const char *at = name;
	for (int i = 0; i < ORDER_CHARACTERS; i++)
		order = order << ORDER_BITS | (*at != '\0' ? order_of((unsigned char)*at++) : 0);
	return of_path(order, mixed(hash_add(HASH_BEGIN ^ above, name, strlen(name))));
}

uint64_t inode_of_literal(uint64_t above, int index) {
	uint64_t hash = mixed(hash_add(HASH_BEGIN ^ above, "/", 1)), order = hash >> HASH_BITS;
	uint64_t first = low(hash, HASH_BITS) >> LITERAL_BITS << LITERAL_BITS;
	return of_path(low(order, ORDER_CHARACTERS * ORDER_BITS), first + 2 + (uint64_t)index);
}

uint64_t inode_of_plain(uint64_t number) {
	return with_kind(OF_PLAIN, low(number, FILE_BITS));
}

uint64_t inode_of_ingest(int64_t id) {
	return with_kind(OF_INGEST, low((uint64_t)id, FILE_BITS));
}

int64_t inode_ingest_id(uint64_t identity) {
	return kind_of(identity) == OF_INGEST ? (int64_t)low(identity, FILE_BITS) : 0;
}

uint64_t inode_number(uint64_t identity) {
	if (kind_of(identity) != OF_PATH)
		return (uint64_t)kind_of(identity) << FILE_BITS | low(identity, FILE_BITS);
	return low(identity >> HASH_BITS, ORDER_CHARACTERS * ORDER_BITS) << SHOWN_BITS |
	       low(identity, SHOWN_BITS);
}
