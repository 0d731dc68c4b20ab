/* Which rows are a file's, when they are to go with it.
 *
 * rowfs remembers the ids of the rows that came from a file. An id alone does not say whose a row
 * is: after TRUNCATE ... RESTART IDENTITY, setval(), or DROP and CREATE, others' rows get the same
 * ids. So a row with such an id is the file's only
 *
 * - if it, or a row behind it that came in the same COPY, still shows the transaction that brought
 *   it (xmin), or
 * - if it says what a line of the file says: after an UPDATE of other columns, after a rewrite by
 *   ALTER TABLE, or in a database that was
 *   restored from a dump.
 *
 * Any other row stays, and is told of: it may be somebody else's. The second test reads the file's
 * bytes again, and is made only if the first leaves rows over. */
#pragma once

#include "schema/state/ingest_file.h"
#include "schema/layout/ingest.h"
#include "fs/stream/engine.h"
#include "util/rows_ioctl.h"

/* Deletes, in the transaction on CONN, the rows that came from file ID, whose bytes must still be
 * as they were, and forgets their ids; with ONLY not 0, it deletes the one with that id. FRESH are
 * ids (text of an int8multirange) of rows that the transaction has inserted, which stay; NULL:
 * none. Empties KEPT, and puts a sentence there if rows stay that had their ids: to be told once
 * the transaction is committed, see ingest_rows_tell(). Returns 0, or -errno with ERR filled. */
MUST_USE int ingest_rows_delete(struct db_conn *conn, struct engine *engine,
				const struct ingest *in, int64_t id, int64_t only,
				const char *fresh, struct buf *kept, struct db_error *err);

/* Compares the committed lines of file ID with the rows that came from file OWNER: the same, or the
 * one that ID follows (fs/files/ingest_twin.h). CANCEL may be NULL. Returns 0, or
 * -errno with ERR filled. Thread-safe. */
MUST_USE int ingest_rows_count(struct engine *engine, const struct ingest *in, int64_t id,
			       int64_t owner, struct db_cancel *cancel, struct rowfs_rows *out,
			       struct db_error *err);

/* Tells of PATH what KEPT says, if anything, and empties it. Thread-safe. */
void ingest_rows_tell(struct engine *engine, const char *path, struct buf *kept);
