/* The inode table: every name that the kernel knows, and what stands behind it.
 *
 * A node is the kernel's nodeid (its address). It lives while the kernel holds look-ups on it,
 * while it has children, or while somebody holds a reference; the kernel's FORGET gives look-ups
 * back. Live names are hashed by (parent, name).
 *
 * A document's node is one version of it: when a look-up finds another version, the name gets a new
 * node with the same identity, and the old one serves only those who have it open. A rows file and
 * a directory keep their node.
 *
 * One lock guards the table and all fields of all nodes; nothing slow happens under it. */
#pragma once

#include "fs/inodes/body.h"
#include "fs/core/fs.h"
#include "fs/inodes/node_struct.h"
#include "fs/inodes/where.h"

/* ROOT is the place of the root. NULL if out of memory. */
MUST_USE struct nodes *nodes_new(struct fs *fs, const struct place *root);
void nodes_free(struct nodes *nodes);
/* The root, for as long as a request lasts: see nodes_replace_root(). No lock. */
struct node *nodes_root(struct nodes *nodes);
/* A new root, at PLACE of another tree: names that are looked up from here on are new nodes of that
 * tree, and those below the old root go on as they are. Returns the old root, for node_put() when
 * no request can be using it any more (intake_after()); NULL if out of memory. */
MUST_USE struct node *nodes_replace_root(struct nodes *nodes, const struct place *place);
size_t nodes_count(struct nodes *nodes);

/* What a look-up found, to be made a node. Strings are borrowed. */
struct found {
	enum node_type type;
	const struct place *place;
	char *const *keys;
	const struct own_name *control;
	struct attributes attr;
	uint64_t ino; /* identity of a plain file or an ingest file; 0 = by the path */
	const char *version;
	const char *body; /* NULL if not fetched */
	size_t body_len;
	bool pending;
	unsigned long
		epoch; /* fs->epoch before the query; of a plain file, plain_ask() before it */
};

/* Makes or refreshes the node NAME in PARENT. LOOKUP: one more look-up of the kernel's; otherwise a
 * reference, to be given back with node_put(). NULL if out of memory. */
struct node *node_found(struct nodes *nodes, struct node *parent, const char *name,
			const struct found *found, bool lookup);

/* Keeps BODY, which stays the caller's, as NODE's: see body_keep(). */
void node_keep_body(struct nodes *nodes, struct node *node, struct body *body);

/* The live node NAME in PARENT with a reference, or NULL. Waits while a handle that concerns it is
 * unsettled, at most until 100 ms after the close that left it so. */
struct node *node_get(struct nodes *nodes, struct node *parent, const char *name);
/* The same. *FRESH: it is no plain file, and need not be looked up again; with LOOKUP, it has one
 * more look-up of the kernel's then, and no reference. */
struct node *node_get_fresh(struct nodes *nodes, struct node *parent, const char *name, bool lookup,
			    bool *fresh);
/* The same of what has NODE's name now, if it is not NODE. */
struct node *node_get_namesake(struct nodes *nodes, const struct node *node);
void node_hold(struct nodes *nodes, struct node *node);
void node_put(struct nodes *nodes, struct node *node);
void node_forget(struct nodes *nodes, struct node *node, uint64_t nlookup);
/* True if the kernel has looked NODE up and not forgotten it. */
bool node_is_known(struct nodes *nodes, const struct node *node);
/* One more look-up of the kernel's. */
void node_add_lookup(struct nodes *nodes, struct node *node);

/* True if NODE was found so recently that it need not be looked up again. */
bool node_fresh(struct nodes *nodes, const struct node *node);

/* What a reply says of a node, and may let the kernel keep. */
struct node_reply {
	struct stat st;
	bool certain;  /* nothing of it has changed that is not committed yet */
	bool has_size; /* its size is known, and the same for all who have it open */
	bool keeps;    /* it is fresh, and nobody writes it */
};
/* Fills OUT. CERTAIN_FROM: fs->epoch from which on what was told of may change once more;
 * ULONG_MAX: nothing may. MAY_KEEP: if all is well the kernel is given NODE's attributes to keep,
 * which is noted, so that it is told to forget them. */
void node_reply(struct nodes *nodes, struct node *node, unsigned long certain_from, bool may_keep,
		struct node_reply *out);
/* The kernel is about to forget NODE's attributes. */
void node_unkeep(struct nodes *nodes, struct node *node);

/* True if what has NAME in the directory NODE ("": what is listed there; NULL: NODE itself,
 * whatever became of its name), as it was found with TICKET (coherence_ticket(); 0: never), is
 * known to be still good: see fresh.h. */
bool node_is_good(struct nodes *nodes, const struct node *node, const char *name,
		  unsigned long ticket);
/* The same of NODE, which has its name. */
bool node_is_unchanged(struct nodes *nodes, const struct node *node, unsigned long ticket);

/* The name no longer means this node: it was removed, or written. */
void node_unhash(struct nodes *nodes, struct node *node);
/* This mount has changed the document NAME in DIR, of which nobody need know a node: its st_mtime
 * is now. */
void node_changed(struct nodes *nodes, const struct node *dir, const char *name);
/* A name in the directory DIR has come or gone: its st_mtime is now. */
void node_names_changed(struct nodes *nodes, const struct node *dir);
/* When the document that has NODE's name changed last, as far as this mount knows; no two changes
 * have the same time. */
int64_t node_changed_at(struct nodes *nodes, const struct node *node);
/* The same as NODE was found; -1 if this mount has committed a change since the look-up that
 * found it began: its version may be the one before. *TICKET: of that look-up, 0 if somebody has
 * changed it since. */
int64_t node_found_at(struct nodes *nodes, const struct node *node, unsigned long *ticket);
/* This mount has committed what was written to the document NODE: its name means another
 * version. */
void node_written(struct nodes *nodes, struct node *node);
/* The plain file NODE has no name any more: only those who have it open do. */
void node_unlinked(struct nodes *nodes, struct node *node);
/* NODE is now NAME in PARENT, a name of the same place: the kernel goes on with its nodeid after a
 * rename. */
void node_move(struct nodes *nodes, struct node *node, struct node *parent, const char *name);
/* NODE was renamed, and the new name is of another kind or place: so of another node, SUCCESSOR
 * (NULL: the one that a look-up finds). But the kernel has NODE under the new name until it looks
 * that up again. NODE has no name from here on, and:
 *
 * - a request by path for it is told ESTALE: the kernel then looks the path up anew;
 * - what has NODE open goes on with the successor, if that is an ingest file or was one. */
void node_succeed(struct nodes *nodes, struct node *node, struct node *successor);
/* True after node_succeed(). Takes no lock. */
static inline bool node_is_succeeded(const struct node *node) {
	enum name_state state = node_name_state(node);
	return state == NAME_SUCCEEDED || state == NAME_REPLACED;
}
/* The last of NODE's successors, with a reference; NULL if it has none. */
MUST_USE struct node *node_successor(struct nodes *nodes, struct node *node);

/* Copies place, keys and path of NODE, or of NAME in directory NODE at PLACE with KEYS. 0 or
 * -ENOMEM. */
MUST_USE int node_where(struct nodes *nodes, const struct node *node, struct where *out);
MUST_USE int node_where_child(struct nodes *nodes, const struct node *dir, const char *name,
			      const struct place *place, char *const *keys, struct where *out);
/* The path from the mount's root ("/a/b"), malloc'd; NAME may be NULL. */
char *node_path(struct nodes *nodes, const struct node *node, const char *name);

/* True while NODE has its name: it was neither removed nor overtaken by another version. */
bool node_has_name(struct nodes *nodes, const struct node *node);
bool node_is_in(struct nodes *nodes, const struct node *node, const struct node *dir);
/* True if some handle has NODE open. */
bool node_is_open(struct nodes *nodes, const struct node *node);
bool node_is_unlinked(struct nodes *nodes, const struct node *node);

/* True if NODE or a directory above it has no row yet. */
bool node_is_pending(struct nodes *nodes, const struct node *node);

/* The path of the directory that NODE is in, malloc'd; *LEVELS is how many components at its end
 * are directories of the layout that are not pending. NULL if out of memory. */
char *node_layout_path(struct nodes *nodes, const struct node *node, int *levels);

/* True if NODE or a directory above it is gone. */
bool node_is_gone(struct nodes *nodes, const struct node *node);
/* The row of REL went with its document NODE: the directories above that stand for it are empty
 * shells. */
void node_set_gone_above(struct nodes *nodes, struct node *node, const struct relation *rel);
/* Fills INOS (room for MOST) with the identities of the directories above NODE that stand for the
 * row of REL. Returns how many. */
int node_row_dirs(struct nodes *nodes, const struct node *node, const struct relation *rel,
		  uint64_t *inos, int most);
/* True if NODE is a directory with one of N INOS, or below one. */
bool node_is_below(struct nodes *nodes, const struct node *node, const uint64_t *inos, int n);
/* The thread that made the directory NODE; 0 if it was there before. */
static inline void node_set_maker(struct node *node, pid_t tid) {
	atomic_store(&node->maker, tid);
}
static inline pid_t node_maker(const struct node *node) {
	return atomic_load(&((struct node *)(uintptr_t)node)->maker);
}

/* As they were found last, or updated. */
struct attributes node_attributes(struct nodes *nodes, const struct node *node);
/* Fills ST. */
void node_stat(struct nodes *nodes, const struct node *node, struct stat *st);
/* What the disk has of the plain file NODE now, by any handle that has it open, whatever became of
 * its name. False if none has. */
bool node_fstat(struct nodes *nodes, const struct node *node, struct stat *st);
/* Updates what was just found of a rows file, a directory or a plain file; of two answers about a
 * plain file, the one to the later question stays, in whatever order they come. */
void node_update(struct nodes *nodes, struct node *node, const struct attributes *attr,
		 unsigned long epoch);

/* The document NODE was read, and is of FOUND's version and size. Where the look-up did not tell
 * them, NODE has them from here on. False if NODE is another version. */
bool node_read(struct nodes *nodes, struct node *node, const struct found *found);

/* True if NODE's size is not known: see struct attributes. */
bool node_is_unsized(struct nodes *nodes, const struct node *node);
/* True if the document NODE is VERSION (NULL: has none). */
bool node_is_version(struct nodes *nodes, const struct node *node, const char *version);

/* The identity of NAME in PARENT, as a look-up of what has none of its own would give it. */
uint64_t node_child_ino(const struct node *parent, const char *name);
/* The same in a directory at place DIR with identity ABOVE, of which nobody need know a node. */
uint64_t node_place_ino(const struct place *dir, uint64_t above, const char *name);

/* Handles that write or read a node, as they open and close; an open handle holds a reference. */
void node_open(struct nodes *nodes, struct node *node, struct handle *handle);
void node_close(struct nodes *nodes, struct node *node, struct handle *handle);
/* True if the open handle H, a reader, may read through the kernel's pages: nobody writes NODE, and
 * the kernel knows how long it is. Counts it until node_close(). */
bool node_open_cached(struct nodes *nodes, struct node *node);
/* True once: the kernel has no pages of NODE yet. */
bool node_first_given(struct nodes *nodes, struct node *node);
/* To be asked before a writer opens NODE: a write would change the pages and the size that readers
 * see through the kernel. If there are such readers, the name gets another node with its next
 * look-up, and true is returned: say ESTALE, and the kernel looks up anew. Nobody is let into its
 * pages for a while: see reopen.h. */
bool node_expel_cached(struct nodes *nodes, struct node *node);
/* The name gets another node with its next look-up: say ESTALE, and the kernel looks up anew. */
void node_expel(struct nodes *nodes, struct node *node);
/* Those who have the document NODE open to read go on to another version: it serves nobody else
 * any more. */
void node_moved_on(struct nodes *nodes, struct node *node);
/* That version has SIZE bytes. */
void node_resized(struct nodes *nodes, struct node *node, uint64_t size);
/* True if NODE has one open handle. */
bool node_is_open_once(struct nodes *nodes, const struct node *node);
/* To be asked where the document NODE turns out to have another version than its look-up found,
 * when thread TID opens it: true if ESTALE will make the kernel look its name up again; false if
 * that was told to this open already: see reopen.h. */
bool node_may_retry(struct nodes *nodes, struct node *node, pid_t tid);
/* Thread TID has opened something, or failed to. */
void nodes_retry_over(struct nodes *nodes, pid_t tid);
/* A handle that has NODE open is UNSETTLED (see handle.h), or is so no more; it must be settled
 * before it is closed. */
void node_unsettle(struct nodes *nodes, struct node *node, bool unsettled);
