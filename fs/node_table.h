/* The table of nodes, for node.c, node_mark.c and node_where.c alone. */
#ifndef ROWFS_FS_NODE_TABLE_H
#define ROWFS_FS_NODE_TABLE_H

#include "fs/node.h"

#include <string.h>

enum { WANTED_SLOTS = 256, SHELLS = 512 };

/* A name that a writer could not open yet: see node_expel_cached(). */
struct wanted {
	uint64_t ino;
	int64_t until; /* clock_us() */
};

struct nodes {
	pthread_mutex_t lock; /* guards everything below, and all nodes */
	pthread_cond_t settled;
	unsigned unsettled;      /* handles whose fate close() left open: see handle.h */
	int64_t unsettled_until; /* clock_us(): how long a look-up waits for the last of them */
	struct fs *fs;
	struct node *root;
	struct node *
		*buckets; /* of those with a name by parent and name, of others by their address */
	size_t nbuckets;  /* a power of two */
	/* Directories that the kernel has forgotten, but whose maker or end (see intent.h) is still to be known; a ring of references. */
	struct node *shells[SHELLS];
	unsigned next_shell;
	size_t count;
	struct wanted wanted[WANTED_SLOTS], retried[WANTED_SLOTS]; /* by st_ino */
};

/* The node that has the name; the lock is held. */
struct node *nodes_find(const struct nodes *nodes, const struct node *parent, const char *name);

/* A document's version; NULL if it has none. */
static inline const char *version_of(const struct node *node) {
	return node->has_version ? node->strings + strlen(node->strings) + 1 : NULL;
}

#endif
