/* The ledger of operations: a row of rowfs.applied, written in the same transaction as the data,
 * tells a repeated operation that its first attempt was committed. Appending twice is not appending
 * once: what cannot be told from the rows themselves is told from here. */
#ifndef ROWFS_SCHEMA_STATE_LEDGER_H
#define ROWFS_SCHEMA_STATE_LEDGER_H

#include "db/query.h"
#include "schema/layout/place.h"

enum { LEDGER_DONE = 1 };

/* An operation that must not be done twice. */
struct ledger_op {
	char id[37];     /* uuid */
	char stream[37]; /* that it holds on to, see fs/stream/fence.h; "": none */
};

/* Makes a new uuid. */
void ledger_new_op(char op[37]);

/* SQL that forgets operations that nobody can repeat any more. */
extern const char ledger_trim[];

/* First thing in the transaction. Returns 0 to go on, LEDGER_DONE if the operation was committed
 * before (go no further, commit), or -errno. Without a ledger: 0. A commit that is still under way
 * is waited for. -EIO if the operation's stream is gone: another mount serves the place now. From
 * here to the transaction's end nobody can remove the stream. */
MUST_USE int ledger_enter(struct db_conn *conn, const struct tree *tree, const struct ledger_op *op,
			  struct db_error *err);

#endif
