/* The table of nodes, for node.c, node_mark.c, node_settle.c, node_table.c and node_where.c alone.
 * Its lock is held in all functions here. */
#pragma once

#include "fs/core/fs.h"
#include "fs/inodes/node_struct.h"
#include "fs/inodes/reopen.h"
#include "fs/inodes/times.h"
#include "util/mutex.h"

#include "util/states.h"

#include <string.h>

enum { SHELLS = 512 };

/* A handle that has NODE open, whose fate close() left open. */
struct unsettled {
	struct unsettled *next;
	const struct node *node;
	const struct relation
		*table; /* of a document or a column: other files show the same row; NULL: none */
	int64_t until;  /* clock_us(): how long a look-up of what it concerns waits */
};

/* One node, or none, and the hash of what it is found by: parent and name, or its address if it has
 * no name. */
struct slot {
	uint64_t hash;
	struct node *node;
};

struct nodes {
	struct mutex lock; /* guards everything below, and all nodes */
	pthread_cond_t settled;
	struct unsettled
		*unsettled; /* handles whose fate close() left open: see handle.h; a list */
	struct fs *fs;
	struct node *_Atomic root; /* changed under the lock */
	struct slot *slots;        /* see node_table.c */
	size_t nslots;
	size_t count; /* of nodes in them */
	/* Directories that the kernel has forgotten, but whose maker or end (see intent.h) is still
	 * to be known; a ring of references. */
	struct node *shells[SHELLS];
	unsigned next_shell;
	struct times *times; /* of documents; large, so allocated by itself */
	struct reopens reopens;
};

extern struct state_table name_table;

/* The node that has the name, or NULL. */
struct node *nodes_find(const struct nodes *nodes, const struct node *parent, const char *name);
/* Waits while a handle that concerns NAME in PARENT is unsettled; the lock is free meanwhile. See
 * node_get(). */
void nodes_settle(struct nodes *nodes, const struct node *parent, const char *name);
/* Forgets them all; at the end. */
void nodes_settle_free(struct nodes *nodes);

/* Makes room for one node more. Returns false if there is no memory for it. */
MUST_USE bool table_reserve(struct nodes *nodes);
/* Adds NODE, for which there is room, by its name if it has it. */
void table_add(struct nodes *nodes, struct node *node);
/* Takes NODE out. What it was added by must not have changed since. */
void table_remove(struct nodes *nodes, const struct node *node);

/* A document's version; NULL if it has none. */
static inline const char *version_of(const struct node *node) {
	return node->has_version ? node->strings + strlen(node->strings) + 1 : NULL;
}
