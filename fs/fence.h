/* What a killed mount left under way. A batch whose daemon died may still be committed, if its backend waits for a lock or is only slow; a
 * collector that asked the next mount how far it got would send its lines a second time. So the streams of a mount are noted in its
 * state directory, and the next mount of the same place removes them from the ledger before it serves anybody: that waits for a batch that has
 * moved its stream already, and any other one finds its stream gone and is rolled back. */
#ifndef ROWFS_FS_FENCE_H
#define ROWFS_FS_FENCE_H

#include "db/query.h"

struct fence;

/* PATH is the file of notes. Removes the streams that are noted there, then begins anew. While an earlier daemon lives that serves
 * the same place (after umount -l), nothing is removed: it commits what it has. Returns 0, or -errno with a sentence in ERR. */
MUST_USE int fence_new(struct db_pool *pool, const char *path, struct fence **out,
		       struct db_error *err);

/* Notes STREAM (a uuid's text), lastingly, before anything is sent in it. Returns 0 or -errno. Thread-safe. */
MUST_USE int fence_note(struct fence *fence, const char *stream);

/* ALL_DONE: nothing is under way any more, the notes go. NULL is fine. */
void fence_free(struct fence *fence, bool all_done);

#endif
