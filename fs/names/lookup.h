/* From a name to what stands behind it: names of a kind's own, the route tree and its rows, the
 * plain store; in this order. */
#pragma once

#include "fs/core/call.h"
#include "fs/inodes/node.h"

/* Another schema may be served than that which DIR was found in: a process is in it, or has it
 * open. Puts into *OUT what has its path now, with a reference; NULL: DIR is good itself, or
 * nothing has its path any more. Returns 0, or -errno with call->err saying why. No lock and no
 * query where DIR is good. */
MUST_USE int lookup_renewed(struct call *call, struct node *dir, struct node **out);

/* Finds NAME in directory DIR, or in what it was renewed as, and makes it a node. LOOKUP: with one
 * more look-up of the kernel's; otherwise with a reference. Returns 0, -ENOENT, -ESTALE if DIR was
 * succeeded (see node_succeed()), or -errno with call->err saying why. */
MUST_USE int lookup_child(struct call *call, struct node *dir, const char *name, bool lookup,
			  struct node **out);

/* True if NAME in DIR is there now, also for a process that is removing it. A failure to ask counts
 * as there; call->err says why. */
bool lookup_is_there(struct call *call, struct node *dir, const char *name);

/* Asks the database again about a rows file that has been looked up too long ago, or with FORCE in
 * any case; and the plain store about a plain file. */
MUST_USE int lookup_refresh(struct call *call, struct node *node, bool force);
/* The same for who only looks: the size of a rows file that the database would have to read all its
 * rows for is asked for while the file is open; else the last known one stays. */
MUST_USE int lookup_glance(struct call *call, struct node *node);

/* The document of W with its version, size and body, the last unless it is long. FOUND borrows from
 * *RES, which is to be cleared. Returns 0, -ENOENT or -errno. */
MUST_USE int lookup_document(struct call *call, const struct where *w, PGresult **res,
			     struct found *found);

/* As kind->refresh, of a file whose size and time a place's statement tells. */
MUST_USE int lookup_refresh_row(struct call *call, struct node *node, bool force, bool glance);

/* True if NAME in DIR was renamed away and is hidden: see moved.h. */
bool lookup_is_moved(struct call *call, const struct node *dir, const char *name);

/* What a name that does not exist yet would be. */
struct target {
	const struct place *place;   /* NULL: no route knows it */
	char *values[PATH_KEYS_MAX]; /* the place's own keys; owned */
	bool bad;                    /* it has a route's shape, but no key has that name */
	bool no_value; /* it has a route's shape, but is no value of its key: a plain file's name */
};

#define AUTO_TARGET __attribute__((cleanup(target_free)))

void target_free(struct target *t);
/* NAME in DIR, as a DIRECTORY or a file. */
void lookup_target(const struct fs *fs, const struct node *dir, const char *name, bool directory,
		   struct target *out);
/* Asks the database whether the keys of TARGET, which NAME in DIR was found to be, are values that
 * their columns can have, in their canonical form. Returns 0, also for a file whose key is no
 * value, which is made a plain file's name then; or -errno. */
MUST_USE int lookup_check_target(struct call *call, struct node *dir, const char *name,
				 struct target *target);

/* Fills FOUND from row ROW of a find or list result; VALUES gets the place's own keys, borrowed
 * from RES. */
void lookup_take_row(const struct fs *fs, const struct place *place, const PGresult *res, int row,
		     char **values, struct found *found);

/* The same for a plain file; and its identity. */
struct attributes lookup_plain_attributes(const struct stat *st);
uint64_t lookup_plain_ino(const struct stat *st);
