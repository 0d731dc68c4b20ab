/* The table of nodes. Its slots stand in the order of their hashes, so that a name that is not
 * there costs one line of memory, and a larger table is filled from one end to the other. */
#include "fs/inodes/node_table.h"

#include "util/hash.h"

#include <stdlib.h>

enum { FIRST_SLOTS = 1024 };

/* -- hashing ----------------------------------------------------------------------------------- */

/* All bits of HASH in its upper half, by which slots are chosen. */
static uint64_t spread(uint64_t hash) {
	hash = (hash ^ (hash >> 32)) * 0x9e3779b97f4a7c15u;
	return hash ^ (hash >> 29) ^ (hash << 32);
}

static uint64_t hash_of_name(const struct node *parent, const char *name) {
	uint64_t hash = (uint64_t)(uintptr_t)parent * 0x9e3779b97f4a7c15u;
	return spread(hash_add(hash, name, strlen(name)));
}

static uint64_t hash_of(const struct node *node) {
	return node_is_named(node) ? hash_of_name(node->parent, node->strings)
				   : spread((uint64_t)(uintptr_t)node * 0x9e3779b97f4a7c15u);
}

static size_t first_slot(const struct nodes *nodes, uint64_t hash) {
	return (size_t)(((hash >> 32) * nodes->nslots) >> 32);
}

static size_t next_slot(const struct nodes *nodes, size_t i) {
	return i + 1 < nodes->nslots ? i + 1 : 0;
}

/* -- slots ------------------------------------------------------------------------------------- */

static void put(struct nodes *nodes, uint64_t hash, struct node *node) {
	size_t i = first_slot(nodes, hash);
	while (nodes->slots[i].node != NULL)
		i = next_slot(nodes, i);
	nodes->slots[i] = (struct slot){ .hash = hash, .node = node };
}

bool table_reserve(struct nodes *nodes) {
	struct slot *old = nodes->slots;
	size_t old_n = nodes->nslots, n = old_n > 0 ? old_n + old_n / 2 : FIRST_SLOTS;
	if (nodes->count < old_n / 4 * 3)
		return true;
	struct slot *slots = n < UINT32_MAX ? calloc(n, sizeof(*slots)) : NULL;
	if (slots == NULL)
		return nodes->count + 1 < old_n; /* one must stay free */
	nodes->slots = slots;
	nodes->nslots = n;
	for (size_t i = 0; i < old_n; i++)
		if (old[i].node != NULL)
			put(nodes, old[i].hash, old[i].node);
	free(old);
	return true;
}

void table_add(struct nodes *nodes, struct node *node) {
	put(nodes, hash_of(node), node);
	nodes->count++;
}

/* True if what belongs to slot HOME, or behind it, and stands in slot AT may stand in slot FREE:
 * the way from HOME to AT leads past FREE. */
static bool may_move(size_t home, size_t at, size_t free) {
	return free <= at ? home <= free || home > at : home <= free && home > at;
}

void table_remove(struct nodes *nodes, const struct node *node) {
	size_t i = first_slot(nodes, hash_of(node));
	while (nodes->slots[i].node != node)
		i = next_slot(nodes, i);
	for (size_t j = next_slot(nodes, i); nodes->slots[j].node != NULL;
	     j = next_slot(nodes, j)) {
		if (!may_move(first_slot(nodes, nodes->slots[j].hash), j, i))
			continue;
		nodes->slots[i] = nodes->slots[j];
		i = j;
	}
	nodes->slots[i].node = NULL;
	nodes->count--;
}

struct node *nodes_find(const struct nodes *nodes, const struct node *parent, const char *name) {
	uint64_t hash = hash_of_name(parent, name);
	for (size_t i = first_slot(nodes, hash);; i = next_slot(nodes, i)) {
		struct node *node = nodes->slots[i].node;
		if (node == NULL || (nodes->slots[i].hash == hash && node_is_named(node) &&
				     node->parent == parent && strcmp(node->strings, name) == 0))
			return node;
	}
}
