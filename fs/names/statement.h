/* One statement about a name: sent, and its failure told. For all kinds of file. A statement takes
 * the keys of a path as its first parameters, and runs by itself, or in the removal that the call
 * is part of. All return 0 or -errno with call->err saying why. Thread-safe. */
#pragma once

#include "fs/core/call.h"
#include "fs/inodes/node.h"
#include "util/text/json_shape.h"

/* Runs ST on W's keys and MORE parameters and counts the rows it changed in *CHANGED. */
MUST_USE int statement_run(struct call *call, struct db_statement *st, const struct where *w,
			   const struct db_param *more, int nmore, int *changed);

/* *EXISTS: whether what W is the name of is there. Literal directories are. */
MUST_USE int statement_exists(struct call *call, const struct where *w, bool *exists);

/* True if rows of other tables refer to a row of W's file, or that cannot be known: they would
 * go with it, or lose what they refer to. */
bool statement_is_referred(struct call *call, const struct where *w);

/* Runs ST on W's keys, and *RES is its answer; to be cleared. */
MUST_USE int statement_query(struct call *call, struct db_statement *st, const struct where *w,
			     unsigned flags, PGresult **res);

/* Whether the row exists that the nearest row's directory above W stands for, one of table BUT not
 * counted; true if there is none. */
MUST_USE int statement_row_above(struct call *call, const struct where *w, int but, bool *exists);

/* False if the directory that W's file is in stands for a row that does not exist; true if that
 * cannot be known. */
bool statement_parent_exists(struct call *call, const struct where *w);

/* The own keys of W are values that their columns can have, in their canonical form: 0, else
 * -EINVAL. */
MUST_USE int statement_check_keys(struct call *call, const struct where *w);

/* True if the statement failed because a key's text is no value of its type: then it names
 * nothing. */
bool statement_is_no_value(const struct call *call);

/* Refuses keys of SHAPE that no column takes, unless an overflow column does. */
MUST_USE int statement_check_shape(struct call *call, const struct place *place,
				   const struct shape *shape);

/* RC, or -EINVAL with a sentence that names the key, if the statement was refused since a trigger
 * has given the row another key than the name that is made says. *OTHER (may be NULL): it was. */
MUST_USE int statement_other_key(struct call *call, int rc, bool *other);

/* Adds to ERR, if the server has refused a change of the rows of PLACE's file, the names of the
 * rules that their table has. */
void statement_name_rules(struct db_error *err, const struct place *place);

/* Says that WHAT has not happened, though no error came: a trigger has skipped it, or a rule of the
 * table has replaced it. Returns -EPERM. */
int statement_skipped(struct call *call, const struct place *place, const char *what);

/* The unique violation that a retry met may be its own first attempt's commit. */
bool statement_was_ours(const struct call *call);

/* Deletes what the file at W shows, in the transaction on CONN; *CHANGED (may be NULL) is how many
 * rows. Returns 0 or -errno. */
MUST_USE int statement_remove_on(struct db_conn *conn, const struct where *w, int *changed,
				 struct db_error *err);
