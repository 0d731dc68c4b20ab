/* The fence keeps what a killed mount has left under way from being committed later. A batch whose
 * daemon died may still be committed, if its backend waits for a lock or is only slow; a collector
 * that asked the next mount how far it got would send its lines a second time. So the streams of a
 * mount are noted in its state directory, and the next mount of the same place removes them from
 * the ledger before it serves anybody: that waits for a transaction that has its stream already,
 * and any other one finds its stream gone and is rolled back.
 *
 * The grouped writer moves a stream with each batch. All other operations that must not be done
 * twice hold on to one stream of the mount while their transaction lasts: once_run().
 *
 * The notes also say whose the state directory is: one daemon at a time serves a place. After
 * `umount -l` the first one lives while files are open, and commits what is written to them; a
 * second one waits for its end, and gives up after a while. */
#pragma once

#include "schema/state/ledger.h"
#include "fs/stream/engine.h"

/* Makes the directory DIR, this mount's in state_dir, this daemon's own. Waits up to WAIT_MS
 * milliseconds for an earlier daemon. Returns 0, -EBUSY with its pid in *OTHER (0: not known
 * here), or -errno. */
MUST_USE int fence_claim(int dir, int wait_ms, struct fence **out, pid_t *other);

/* Removes the streams that are noted, and begins anew. Returns 0, or -errno with a sentence in
 * ERR. */
MUST_USE int fence_end_earlier(struct fence *fence, struct db_pool *pool, struct db_error *err);

/* Notes STREAM (a uuid's text), lastingly, before anything is sent in it, and makes its row.
 * Returns 0, or -errno with a sentence in ERR. Thread-safe. */
MUST_USE int fence_open(struct fence *fence, struct db_pool *pool, const char *stream,
			struct db_error *err);

/* Fills STREAM with the stream that the named operations of this mount hold. Returns 0, or -errno
 * with a sentence in ERR. Thread-safe. */
MUST_USE int fence_stream(struct fence *fence, struct db_pool *pool, char stream[37],
			  struct db_error *err);

/* What became of an operation in STREAM is not known, or the stream is gone: the next one takes
 * another. Thread-safe. */
void fence_leave(struct fence *fence, const char *stream);

/* Something was given up that may still be under way: the notes stay. Thread-safe. */
void fence_doubt(struct fence *fence);

/* The notes go, unless something is in doubt, and so does the claim. NULL is fine. */
void fence_free(struct fence *fence);
