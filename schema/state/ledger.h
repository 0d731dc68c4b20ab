/* The ledger: an operation notes itself there in the transaction that has its data. So a repetition
 * after a lost COMMIT finds out that it is done already. Appending twice is not appending once:
 * what cannot be told from the rows themselves is told from here.
 *
 *  kind      noted in                              used by
 *  named     rowfs.applied: a row with its uuid    an operation of its own: a file's text, an
 *                                                  ingest file, a rotation
 *  numbered  rowfs.stream: the number in its       the batches of one lane: they come in turn, and
 *            stream's row                            one row for all of them costs less
 *
 * A named operation also holds the mount's row of rowfs.stream until its transaction ends: see
 * fs/stream/fence.h. */
#pragma once

#include "db/query.h"
#include "schema/layout/place.h"

enum { LEDGER_DONE = 1, LEDGER_MOVE_PARAMS = 3 };

/* An operation that is committed once. One thread at a time. */
struct once {
	char id[37];     /* of a named one: its uuid; "": it is numbered */
	char stream[37]; /* uuid of the stream that it holds or moves; "": it holds none */
	int64_t off;     /* numbered: the last number of the stream that was committed */
	bool entered;    /* named: noted by the transaction that is open */
};

/* Makes a new uuid. */
void ledger_new_uuid(char uuid[37]);

/* First thing in a transaction that may be a repetition. Returns 0 to go on, LEDGER_DONE if the
 * operation was committed before (do no more, commit), or -errno. Waits for a commit of it that is
 * still under way. -EIO if its stream is gone: another mount serves the place now. Notes a named
 * operation. Without a ledger: 0. */
MUST_USE int ledger_ask(struct db_conn *conn, bool has_ledger, struct once *once,
			struct db_error *err);

/* Notes the operation, unless ledger_ask() has, in the transaction on CONN; from here to the
 * transaction's end nobody can remove its stream. Returns 0, or -errno: an error that is retryable
 * if it is noted already, or its stream stands elsewhere. Without a ledger: 0. */
MUST_USE int ledger_enter(struct db_conn *conn, bool has_ledger, struct once *once,
			  struct db_error *err);

/* The LEDGER_MOVE_PARAMS of ledger_move_sql; their text is in NUMBERS. Returns how many. */
int ledger_move_params(const struct once *once, char numbers[2][24], struct db_param *params);

/* Makes the stream $1. Repeatable. */
extern const char ledger_open_sql[];
/* Moves a stream: stream, its new number, its number before. One row changed, or it stands
 * elsewhere. */
extern const char ledger_move_sql[];
/* Ends the streams $1, an array as text: waits for what has moved them, and what has not cannot be
 * committed. */
extern const char ledger_fence_sql[];
/* First in a transaction: it sees one snapshot, from its first question on. */
extern const char ledger_one_snapshot_sql[];
/* The number of the transaction that is open. What became of transaction $1: committed, aborted, in
 * progress; NULL: the server knows it no more. */
extern const char ledger_xid_sql[], ledger_xid_status_sql[];
/* Forget named operations, and streams, that nobody can repeat any more. */
extern const char ledger_trim_named_sql[], ledger_trim_streams_sql[];
