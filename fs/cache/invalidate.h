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
#pragma once

#include "fs/cache/forget.h"
#include "fs/core/fs.h"

#include <fuse_lowlevel.h>

/* Does nothing until it has a session. LOCK, which is borrowed, guards its queues, and is not held
 * in any function here. NULL if out of memory. */
MUST_USE struct invalidator *invalidator_new(struct fs *fs, struct mutex *lock);
/* Ends its threads; after the session is unmounted. NULL is fine. */
void invalidator_free(struct invalidator *inv);

/* The session that serves; before its first request. */
void invalidator_serve(struct invalidator *inv, struct fuse_session *se);
/* From now on nothing is told any more, and what waited to be told is over with. Before the
 * session is unmounted. */
void invalidator_stop(struct invalidator *inv);

/* A request that holds the kernel's lock of directory DIR is served (BUSY), or has been: names in
 * it are not told meanwhile, as that would wait for the request. */
void invalidate_serves(struct invalidator *inv, const struct node *dir, bool busy);
/* Names of directory DIR are being given to the kernel with a listing. */
void invalidate_lists(struct invalidator *inv, const struct node *dir);
/* True if the kernel may be about to take in names of DIR that it was given with a listing. */
bool invalidate_is_listed(struct invalidator *inv, const struct node *dir);

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

/* How many of what was given to invalidate() the kernel has not been told yet; at any time, by any
 * thread. */
long invalidate_pending(const struct invalidator *inv);

/* Waits until all that was given to invalidate() before has been told, at most MS milliseconds. Not
 * in a request that may hold a directory's lock or a page. */
void invalidate_wait(struct invalidator *inv, int ms);
