/* What became of lines that were sent to the server. Whoever sends returns it; nothing else says
 * it: an error's text is for people.
 *
 *  outcome       what it means                            what follows
 *  SENT          committed (in a part of a transaction:   the lines are rows; the table's triggers
 *                taken)                                   may make none of some
 *  LINE_REFUSED  the server refused a line; the part      the lines are sent around it: the one
 *                that had it is rolled back, the          that it means, or halves
 *                connection lives
 *  DO_IT_AGAIN   rolled back, for a cause that passes:    sent again, within the retry budget; then
 *                class 40, the connection lost before     as FAILED
 *                COMMIT, memory
 *  IN_DOUBT      COMMIT was sent and not answered         with a ledger: sent again, which asks it
 *                                                         first; else as FAILED
 *  FAILED        rolled back, for a cause that is none    the lines are given up: kept in
 *                of the lines: no privilege, no table,    rejected/, and told
 *                a time-out */
#pragma once

#include "db/error.h"

enum sent { SENT, LINE_REFUSED, DO_IT_AGAIN, IN_DOUBT, FAILED };

/* The outcome of what a function of db/ returned RC for, and filled ERR. An error of the server
 * counts as a line's whatever its SQLSTATE, since a trigger may raise any; but not one that tells
 * of the connection, the server or the transaction. */
enum sent sent_of(int rc, const struct db_error *err);

/* True if errors of ERR's class mostly have one cause for all lines (a privilege, a name, a type):
 * whoever meets them again and again may look whether any line is free of them. */
bool sent_is_common(const struct db_error *err);
