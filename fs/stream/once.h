/* Everything that must happen once: an operation is committed once or not at all, whatever
 * connection is lost on the way. Its note in the ledger (schema/state/ledger.h) is committed with
 * it.
 *
 *  what happened                               what follows
 *  the transaction was committed               the operation is done
 *  lost before COMMIT, class 40                sent again, within the retry budget
 *  lost at COMMIT                              sent again: ledger_ask() finds out whether it is in
 *  given up while it may be under way          the mount's next operation holds another stream; the
 *                                              next mount ends this one: see fence.h
 *
 * Without a ledger a lost COMMIT is -EIO. */
#pragma once

#include "fs/stream/engine.h"
#include "schema/state/ledger.h"

enum { ONCE_ONE_SNAPSHOT = 1 }; /* all statements of the transaction see the same rows */

/* Runs FN in one transaction that is committed once. FN may run several times; it does not run in a
 * repetition that finds the operation done. ONCE becomes a new named operation, whose id FN may
 * use; NULL: nobody wants to know it. Returns 0, or -errno with ERR filled. Thread-safe. */
MUST_USE int once_run(struct engine *engine, unsigned flags, db_tx_fn fn, void *arg,
		      struct once *once, struct db_error *err);

/* -- for a transaction that once_run() does not make: fs/stream/batch.c ----------------------- */

/* Makes ONCE a new named operation. Returns 0, or -errno with ERR filled. Thread-safe. */
MUST_USE int once_begin(struct engine *engine, struct once *once, struct db_error *err);

/* The named operation ONCE has failed with RC (-errno) and ERR, and may be under way. It may be
 * tried again. Thread-safe. */
void once_failed(struct engine *engine, const struct once *once, int rc,
		 const struct db_error *err);
