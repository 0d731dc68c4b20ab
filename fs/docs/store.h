/* Writing documents: of a row, or of a column; and removing them. All return 0 or -errno with
 * call->err saying why. */
#pragma once

#include "fs/core/call.h"
#include "fs/inodes/node.h"

/* The document of one row: updates the row, or inserts it. CREATED: it most likely is not there, so
 * that is tried first. */
MUST_USE int store_row(struct call *call, const struct where *w, const char *json, size_t len,
		       bool created);

/* The row at TO gets the document JSON, and the row at FROM, of the same place, goes, in one
 * transaction: as when a file that was written aside is renamed onto it. */
MUST_USE int store_replace_by(struct call *call, const struct where *from, const struct where *to,
			      const char *json, size_t len);

/* One column's value; with APPEND, added to what is there (text and bytea columns). */
MUST_USE int store_column(struct call *call, const struct where *w, const char *data, size_t len,
			  bool append);

/* True if the row of W, a column's file that shows nothing, does not exist. Keeps CALL's error. */
bool store_column_has_no_row(struct call *call, const struct where *w);

/* As kind->remove: of a row or a column, and of the others. */
MUST_USE int store_remove(struct call *call, const struct where *w);
MUST_USE int store_remove_table(struct call *call, const struct where *w);
MUST_USE int store_remove_query(struct call *call, const struct where *w);
