/* Removals of names on routes, which may still turn out to be the first half of a replacement.
 *
 * `mv` from another file system, `install`, `tar x`, `unzip` and `git checkout` unlink a file and
 * then create it anew. Committed by itself, the first half would delete the row with all that
 * refers to it. So an unlink runs its DELETE at once, and what forbids it is told at once, but in a
 * transaction that stays open for REMOVAL_US: the *removal* of the process (thread group) that
 * unlinks. What the process unlinks meanwhile joins it. A process has one removal at most, and that
 * one connection.
 *
 *  state       there are          event                                        next state
 *  EMPTY       no names           unlink                                       OPEN
 *  OPEN        transaction, names unlink                                       OPEN
 *                                 an unlink that is refused: DELETEs that it   OPEN
 *                                 undid are run again
 *                                 the name is created or written, or renamed   OPEN; EMPTY if it
 *                                 onto: the row is as before, and the new      was the only one
 *                                 file replaces it when it is closed
 *                                 REMOVAL_US are over: all but the last few    COMMITTING
 *                                 names
 *                                 half of that is over, and the only thread    COMMITTING, then
 *                                 that removes goes on to the next name        OPEN with that name
 *                                 the process ended; its rmdir, its rename of  COMMITTING
 *                                 a row, its mkdir of what goes; fsync of a
 *                                 directory by it; unmount
 *  COMMITTING  the same           COMMIT worked                                EMPTY; OPEN for
 *                                                                              names that are left
 *                                 COMMIT failed: each DELETE is run again      EMPTY; OPEN for
 *                                 alone, with the retries of any statement;    names that are left
 *                                 one that is refused is in errors.jsonl
 *
 * Time in which the process could do nothing, since a thread of it waited for a processor, or for
 * us to answer the unlink, or to find or create a file, is not counted: see pace.h. On a machine
 * that is not busy there is none.
 *
 * Until the commit the name is ENOENT for the process, and everybody else sees the file as it was:
 * the server tells them so, too. If another process opens it to write, or renames something onto
 * it, it is there again for all. No other write of the process ends the removal, since unlink and
 * create may come from different threads of it, and other threads may do anything between them. Who
 * writes to a row that is being removed by another way waits for its lock, as long as the removal
 * is open.
 *
 * Files below a document that is being removed go with it, without a statement (`rm -r`).
 *
 * While there is a removal, the kernel keeps nothing of what it concerns; and a request of another
 * process commits first what processes that have ended have left open. So whoever waits for `rm`
 * sees what it did.
 *
 * Each removal is committed by a thread of its own: a DELETE that is run again may wait for a row
 * that another removal has locked, until that one is committed.
 *
 * At most a third of the connections is kept by removals. The removal of a process that gets none
 * is *dry*: its DELETE is rolled back as soon as the server has said that it would work, and run
 * again when the time is over. Nobody waits for a connection here: unlink holds the kernel's lock
 * of the directory, which the creates of others need. Where the process cannot be known (another
 * PID namespace, no /proc), unlink is committed when it returns. */
#pragma once

#include "fs/core/call.h"
#include "fs/inodes/node.h"

/* An unlink of NODE at W, which went as RC says: removal_end() returns it. Between
 * removal_begin() and removal_end() the call's statements run in the removal of its process, if
 * there is call->removal. Without removal_begin() it was committed, or needed no commit. */
void removal_begin(struct call *call);
MUST_USE int removal_end(struct call *call, struct node *node, const struct where *w, int rc);
/* For statements between the two; call->removal is not NULL. As db_query(). */
MUST_USE int removal_query(struct call *call, struct db_statement *st,
			   const struct db_param *params, int n, unsigned flags, PGresult **out);

/* True if NODE is below a document that the caller's process is removing: then it is removed
 * with it. */
bool removal_covers(struct call *call, struct node *node);

/* The caller opens directory DIR to list it. What goes with a document that its process is
 * removing is committed first: it must not find names that are about to go. True if its process
 * is still removing names: they are not listed for it, but for others. */
MUST_USE bool removal_lists(struct call *call, const struct node *dir);

/* True if NAME in DIR is not there for the caller, whose process is removing it. What the
 * caller's mkdir makes anew is removed first. */
bool removal_hides(struct call *call, const struct node *dir, const char *name);

/* True if any process is removing NAME in DIR. */
bool removal_has(struct call *call, const struct node *dir, const char *name);

/* What has the identity INO (see node_child_ino()) is made or written anew. True if it was being
 * removed: it is there again as before, and is to be replaced. */
bool removal_take_back(struct call *call, uint64_t ino);

/* Waits until a commit of what the caller's process is removing is over, if one is under way. */
void removal_wait(struct call *call);

/* Commits what the caller's process is removing. Returns 0, or the first -errno; errors are told
 * already. */
int removal_commit(struct call *call);
