/* Writing to rows: what the kinds share. All return 0 or -errno with call->err saying why. */
#ifndef ROWFS_FS_DOCS_STORE_H
#define ROWFS_FS_DOCS_STORE_H

#include "fs/core/call.h"
#include "util/text/json_shape.h"

/* The document of one row: updates the row, or inserts it. CREATED: it most likely is not there, so
 * that is tried first. */
MUST_USE int store_row(struct call *call, const struct where *w, const char *json, size_t len,
		       bool created);

/* The row at TO gets the document JSON, and the row at FROM, of the same place, goes, in one
 * transaction: as when a file that was written aside is renamed onto it. */
MUST_USE int store_replace_by(struct call *call, const struct where *from, const struct where *to,
			      const char *json, size_t len);

/* Deletes what the file at W shows, in the transaction on CONN; *CHANGED (may be NULL) is how many
 * rows. Returns 0 or -errno. */
MUST_USE int store_remove_on(struct db_conn *conn, const struct where *w, int *changed,
			     struct db_error *err);

/* One column's value; with APPEND, added to what is there (text and bytea columns). */
MUST_USE int store_column(struct call *call, const struct where *w, const char *data, size_t len,
			  bool append);

/* True if the row of W, a column's file that shows nothing, does not exist. Keeps CALL's error. */
bool store_column_has_no_row(struct call *call, const struct where *w);

/* Runs ST on W's keys and MORE parameters and counts the rows it changed in *CHANGED. */
MUST_USE int store_run(struct call *call, struct db_statement *st, const struct where *w,
		       const struct db_param *more, int nmore, unsigned flags, int *changed);

/* -ENOENT with a sentence unless the row or the files' parent at W exists. */
MUST_USE int store_exists(struct call *call, const struct where *w, bool *exists);

/* True if rows of other tables refer to a row of W's file, or that cannot be known: they would
 * go with it, or lose what they refer to. */
bool store_is_referred(struct call *call, const struct where *w);

/* False if the directory that W's file is in stands for a row that does not exist; true if that
 * cannot be known. */
bool store_parent_exists(struct call *call, const struct where *w);

/* The own keys of W are values that their columns can have, in their canonical form: 0, else
 * -EINVAL. */
MUST_USE int store_check_keys(struct call *call, const struct where *w);

/* True if the statement failed because a key's text is no value of its type: then it names
 * nothing. */
bool store_is_no_value(const struct call *call);

/* Refuses keys of SHAPE that no column takes, unless an overflow column does. */
MUST_USE int store_check_shape(struct call *call, const struct place *place,
			       const struct shape *shape);

/* The unique violation that a retry met may be its own first attempt's commit. */
bool store_was_ours(const struct call *call);

#endif
