/* What a node is: see node.h, which says what can be done with it. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

/* Whether a node has its name; the table of moves is in node.c. */
enum name_state {
	NAME_NONE,      /* another version has it, or nobody; the root has none */
	NAME_HELD,      /* it is found by it */
	NAME_UNLINKED,  /* a plain file that only those who have it open have */
	NAME_SUCCEEDED, /* its path is another node's: see node_succeed() */
	NAME_REPLACED,  /* both: a plain file whose bytes went into what succeeded it */
	NAME_STATES
};

enum name_event { NAME_ON_GET, NAME_ON_LOSE, NAME_ON_UNLINK, NAME_ON_SUCCEED, NAME_EVENTS };

enum node_type { NODE_PLACE, NODE_PLAIN, NODE_CONTROL };

/* Attributes as they were found. */
struct attributes {
	uint64_t size;    /* bytes */
	int64_t mtime_ns; /* since 1970; 0 = not known: the mount's start */
	mode_t mode;      /* type and permissions */
	/* Nobody has worked out the size. Of rows it is the last known one, or 0; of a document,
	 * that of what somebody has open, or 0. */
	bool unsized;
};

/* Kept small: the kernel holds as many as it knows names. What may be read without the lock of the
 * nodes, by any thread that holds the node, never changes (`type`, `place`, `control`, `ino`) or is
 * atomic. All else needs the lock, also the name: a rename frees it. */
struct node {
	struct node *parent;            /* NULL for the root; holds a reference */
	const struct place *place;      /* NODE_PLACE; its snapshot is held; never changes */
	const struct own_name *control; /* never changes */
	union {
		struct handle *opened;  /* the open handles, the newest first */
		struct node *next_dead; /* while it is being freed */
	};
	struct body *body;      /* NULL if not kept; see body.h */
	struct node *successor; /* see node_succeed(); holds a reference; NULL: none */
	uint64_t ino;           /* identity, see inode.h; never changes */
	struct attributes attr;
	/* fs->epoch when it was found; 0: it has changed since, or may have: see fresh.h. Of a
	 * plain file, the number of the question: see plain_ask() */
	unsigned long epoch;
	unsigned long below; /* fs->epoch when all below this directory changed last */
	int64_t fresh_until; /* clock_us(): until then a look-up needs no query */
	uint32_t lookups;    /* the kernel's; at UINT32_MAX it is never freed */
	uint32_t references; /* children and callers */
	uint32_t readers;    /* open handles that only read */
	uint32_t cached;     /* those of them that read through the kernel's pages */
	uint32_t writers;    /* open handles that may write */
	atomic_int maker;    /* the thread that made this directory; see intent.h */
	uint8_t type;        /* enum node_type; never changes */
	uint8_t fresh;       /* enum fresh_state; changed by fresh_move() only */
	atomic_uchar name;   /* enum name_state; changed by name_move() in node.c only */
	atomic_bool
		written; /* a handle wrote: the kernel's pages and size are not what was found */
	atomic_bool pending; /* known only to the plain store: no row yet */
	/* Bits, so that a node of an ordinary name takes 16 bytes less. All under the lock. */
	bool kept : 1;  /* the kernel may hold its attributes */
	bool given : 1; /* the kernel was given its pages */
	bool sized : 1; /* the kernel was told its true size, if it is a document */
	bool has_version : 1, has_keys : 1, own_strings : 1;
	/* Name; version, of a document; and the place's own keys where the name does not tell
	 * them. */
	char *strings;
	char text[]; /* where `strings` are, until they change */
};

/* Under the lock, unless what is to be known never changes back. */
static inline enum name_state node_name_state(const struct node *node) {
	return (enum name_state)atomic_load(&((struct node *)(uintptr_t)node)->name);
}

static inline bool node_is_named(const struct node *node) {
	return node_name_state(node) == NAME_HELD;
}
