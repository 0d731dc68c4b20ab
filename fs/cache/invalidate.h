/* Telling the kernel what to forget.
 *
 * To forget a name, the kernel takes the lock of its directory, which every look-up under way there
 * holds; to forget pages, it waits for reads under way. So it is told by threads of their own that
 * hold no lock, never by one that serves a request. Where a thread is kept waiting, all names at
 * once are declared out of date, which needs no lock (FUSE_NOTIFY_INC_EPOCH, since Linux 6.16).
 *
 * What waits to be told has a bound, however many changes come: beyond it, and where anything may
 * have changed, all that the kernel knows is listed once, when the list before has been told.
 *
 * All functions are thread-safe. */
#ifndef ROWFS_FS_CACHE_INVALIDATE_H
#define ROWFS_FS_CACHE_INVALIDATE_H

#include "fs/core/fs.h"

#include <fuse_lowlevel.h>

struct node;
struct invalidator;

/* Something to forget. */
struct forget {
	struct forget *next;
	struct node *
		node; /* with a reference: what `name` is in, or whose attributes and pages it is */
	char *name;   /* NULL: attributes and, with `data`, pages and listings */
	bool data;
	bool directory; /* `name` is one's */
	bool expired;   /* all names were declared out of date since */
	/* the kernel did not know it: how long that may go on; 0: it was not told yet */
	int64_t until_us;
	void (*then)(
		void *arg); /* called when it has been told, or never will be; NULL: nothing is */
	void *arg;
	/* `data`, and a directory: so it was when this was made, under the lock of the nodes */
	bool listing;
};

/* NULL if out of memory. Does nothing until it has a session. */
MUST_USE struct invalidator *invalidator_new(struct fs *fs);
/* Ends its threads; after the session is unmounted. NULL is fine. */
void invalidator_free(struct invalidator *inv);

/* The session that serves; before its first request. */
void invalidator_serve(struct invalidator *inv, struct fuse_session *se);
/* From now on nothing is told any more, and what waited to be told is over with. Before the
 * session is unmounted. */
void invalidator_stop(struct invalidator *inv);

/* Takes LIST over and has the kernel told, soon. */
void invalidate(struct invalidator *inv, struct forget *list);
/* The same of all that it knows: attributes, pages, listings and names. */
void invalidate_all(struct invalidator *inv);

/* Has the kernel forget the attributes of the nodes in LIST at once, which needs no lock and waits
 * for nobody: for threads that serve requests. LIST stays the caller's. */
void invalidate_attributes(struct invalidator *inv, const struct forget *list);

/* Frees what need not be told. */
void invalidate_not(struct invalidator *inv, struct forget *list);

/* Declares all names out of date, at once. Returns false if this kernel cannot. */
bool invalidate_names(struct invalidator *inv);
/* True if it was found out that it cannot. */
bool invalidates_by_name(struct invalidator *inv);

/* Waits until all that was given to invalidate() before has been told, at most MS milliseconds. Not
 * in a request that may hold a directory's lock or a page. */
void invalidate_wait(struct invalidator *inv, int ms);

#endif
