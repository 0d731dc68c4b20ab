/* Bodies of documents, as look-ups, listings and opens brought them, so that an open and a read
 * need no query.
 *
 * A body belongs to a node. A document's node is one version of it, so a body is never out of date:
 * it is only dropped, the one that was used longest ago first, when all of them take more than `-o
 * cache`. Three quarters of that are given up for names where the kernel knows very many. Whether
 * the node is still what its name means is the look-up's to say. Who has taken a body keeps it,
 * dropped or not. Thread-safe. */
#pragma once

#include "util/cleanup.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fs;
struct mutex;

struct body {
	atomic_uint references; /* the cache's, and of each who took it */
	struct node *node; /* NULL: not in the cache (any more); guarded by the lock of the nodes */
	struct body *older, *newer; /* in order of use; guarded by the lock of the nodes */
	unsigned opened; /* by handles, which memory_max counts; guarded by the lock of the nodes */
	size_t len;      /* bytes of data */
	char data[];     /* immutable */
};

/* A cache of at most MOST bytes, what malloc takes for them included. NULL if out of memory. Freed
 * after the nodes. */
MUST_USE struct bodies *bodies_new(uint64_t most);
void bodies_free(struct bodies *bodies);
/* LOCK, that of the nodes, guards the cache, too. Before its first use. */
void bodies_guard(struct bodies *bodies, struct mutex *lock);
/* One name more (ADDED 1) or less (-1) that the kernel knows. */
void bodies_count_name(struct bodies *bodies, int added);

/* A body of LEN bytes with one reference, to be given back with body_release(). DATA is copied.
 * NULL if out of memory. */
MUST_USE struct body *body_new(const char *data, size_t len);
void body_release(struct body *body); /* NULL: nothing */
static inline void cleanup_body(struct body **body) {
	body_release(*body);
}
#define AUTO_BODY __attribute__((cleanup(cleanup_body), unused))

/* Keeps BODY (which stays the caller's) as that of NODE, in place of any other. What would take
 * more than a quarter of the cache is not kept. Held: the lock of the nodes; see
 * node_keep_body(). */
void body_keep(struct bodies *bodies, struct node *node, struct body *body);
/* The body of NODE with a reference, or NULL. */
MUST_USE struct body *body_take(struct fs *fs, struct node *node);
/* A handle is going to have BODY: it is on the account of memory as long as any has. Returns false
 * if that is full. */
MUST_USE bool body_open(struct fs *fs, struct body *body);
/* It has it no more, and its reference is given back. NULL is fine. */
void body_close(struct fs *fs, struct body *body);
/* Forgets the body of NODE. Held: the lock of the nodes. */
void body_drop(struct bodies *bodies, struct node *node);
