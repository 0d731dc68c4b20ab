/* What became of lines that were sent to the server. Whoever sends returns it; nothing else says it: an error's text is for people.
 *
 *  outcome       what it means                                   what follows
 *  SENT          committed (in a part of a transaction: taken)   the lines are rows; the table's triggers may have made none of some
 *  LINE_REFUSED  the server refused a line; the part that had    the lines are sent around it: the one that it means, or halves
 *                it is rolled back, the connection lives
 *  DO_IT_AGAIN   rolled back, for a cause that passes: class     sent again, within the retry budget; then as FAILED
 *                40, the connection lost before COMMIT, memory
 *  IN_DOUBT      COMMIT was sent and not answered                with a ledger: sent again, which asks it first; else as FAILED
 *  FAILED        rolled back, for a cause that is none of the    the lines are given up: kept in rejected/, and told
 *                lines: no privilege, no table, a time-out
 */
#ifndef ROWFS_FS_SENT_H
#define ROWFS_FS_SENT_H

#include "db/error.h"

enum sent { SENT, LINE_REFUSED, DO_IT_AGAIN, IN_DOUBT, FAILED };

/* The outcome of what a function of db/ returned RC for, and filled ERR. An error of the server counts as a line's whatever its
 * SQLSTATE, since a trigger may raise any; but not one that tells of the connection, the server or the transaction. */
enum sent sent_of(int rc, const struct db_error *err);

/* True if errors of ERR's class mostly have one cause for all lines (a privilege, a name, a type): whoever meets them again and again may look
 * whether any line is free of them. */
bool sent_is_common(const struct db_error *err);

#endif
