/* SQL for the places of a tree: the statements that each place has, and those that depend on what
 * is to be written. */
#pragma once

#include "schema/layout/place_sql.h"
#include "util/text/json_shape.h"

struct catalog;
struct place;
struct tree;

/* Makes the statements of all places and timers of TREE, once; before the tree is shared. False if
 * out of memory. */
MUST_USE bool sql_build(struct tree *tree);

/* Makes the statements anew of the places whose slice is usable; before the tree is shared. False
 * if out of memory. */
MUST_USE bool sql_use_slices(struct tree *tree);

/* SQL that has a row if a row of CATALOG's tables refers to one that PLACE's file shows, or a
 * table that CATALOG does not know may have one that a DELETE changes. malloc'd; NULL if out of
 * memory. Pure. */
char *sql_find_referred(const struct place *place, const struct catalog *catalog);

/* What the document parameter of a statement is, the one after the keys. */
enum sql_source {
	SOURCE_ONE,     /* one object: the row d */
	SOURCE_MANY,    /* an array of objects that all have SHAPE's keys: a row d for each */
	SOURCE_ORDERED, /* the same, and their numbers as e.n; for schema/ alone */
};

/* In the sentence of an error (22P02): a trigger has given a new or renamed row another key than
 * its name says. What follows, up to a quote, is the column and the value. */
#define SQL_OTHER_KEY "rowfs: another key: "

/* What the members of an object are that is written at PLACE: in each JSON parameter, the values of
 * JSON columns are quoted (json_put_quoted()). Borrows the place. */
struct json_members sql_members(const struct place *place);

/* SQL that asks in which columns a JSON document differs from the row at PLACE: one row, a boolean
 * named as the column for each that an UPDATE would set; no row means what it means for
 * sql_update_document(). NULL if there is none to set. What is shown as the same does not
 * differ. */
char *sql_differing_columns(const struct place *place, const struct shape *shape);

/* SQL that writes a JSON document to the row at PLACE. UPDATE: of the columns CHANGED, if the
 * others do not differ; NULL: of all that the document has. No row affected means no such row, or
 * that the document contradicts the path, or that others differ. Unknown keys must have been
 * refused before, unless the route has an overflow column. Returned SQL is malloc'd; NULL if no
 * column would get a value (or
 * out of memory). Pure. */
char *sql_update_document(const struct place *place, const struct shape *shape,
			  const struct shape *changed);
/* The same that inserts one document, or a batch of lines. Affects as many rows as there are
 * objects, fewer if one contradicts the path, or the parent is missing. */
char *sql_insert(const struct place *place, const struct shape *shape, enum sql_source from);
/* After the UPDATE has affected no row, or the INSERT too few: find_updated returns a row if there
 * is one that should have been changed; count returns how many of the objects do not contradict
 * the path. Then a trigger has skipped some. */
char *sql_find_updated(const struct place *place, const struct shape *shape);
char *sql_count(const struct place *place, const struct shape *shape, enum sql_source from);
/* Asks for the pg_snapshot of now. */
extern const char sql_snapshot[];
/* True if TEXT is a pg_snapshot as the server writes it: only that may get into the following. */
bool sql_is_snapshot(const char *text);
/* Deletes the rows of the file that were there in SNAPSHOT, NULL: all. ABSENT: of these, those
 * whose key is not among those of the objects in the parameter. */
char *sql_remove_older(const struct place *place, const char *snapshot, bool absent);

/* Lines that do not show the key of their rows, see fs/rows/rows_pairs.h. What decides where a
 * line stands when the file is read: */
enum pairing_order {
	PAIRING_FREE,     /* what it says, or nothing that lasts (there is no key) */
	PAIRING_IN_ORDER, /* columns that it does not show: a new row stands behind the old ones */
	PAIRING_TIES,     /* first what it says; among lines that say the same, the others */
};
enum pairing_order sql_pairs_order(const struct place *place);
/* True if rows of PLACE can be read with their keys, and changed by them. EDITED: no row of
 * a line that stays may be touched, even if nothing hangs on it. */
bool sql_can_pair(const struct place *place, bool edited);
/* True if what a line shows is not all there is of its row: rows refer to it, or it has columns
 * beside its key that the file does not show. */
bool sql_rows_have_more(const struct place *place);
/* True if each line of PLACE's files, if it is complete, shows the key of its row. */
bool sql_shows_key(const struct place *place);
/* True if the key is one, and not the row's place in the table, which an UPDATE changes. */
bool sql_pairs_have_key(const struct place *place);

/* True if objects with SHAPE's keys say more than their lines show: a row that has the same line
 * may differ. */
bool sql_pairs_say_more(const struct place *place, const struct shape *shape);

/* read: the file's rows in its order; the parameter is how many bytes they may have, and none is
 * found if they have more. LOCK: nobody else changes them any more. SNAPSHOT: only those that
 * were there then; NULL: all. lines: the objects of the parameter, an array, as lines; all have
 * SHAPE's keys. */
char *sql_pairs_read(const struct place *place, bool lock, const char *snapshot);
enum { PAIR_KEY, PAIR_LINE, PAIR_TIE, PAIR_IDENTITY, PAIR_RANK }; /* columns of read */
#define PAIRS_FORM "ttt?t?n"
char *sql_pairs_lines(const struct place *place, const struct shape *shape);
enum { LINE_TEXT, LINE_TIE, LINE_IDENTITY }; /* columns of lines */
#define LINES_FORM "tt?t?"
/* update: the parameter's elements are {"k": a row's PAIR_KEY, "j": the object}; NULL if it
 * cannot be done. Returns the numbers, from 1 on, of those that were updated; nothing, if the table
 * has rules. differing: the
 * numbers of those whose rows are not as they say. count: how many of them have that row, and
 * agree with the path. delete: the rows whose keys are in the parameter, or all OTHERS; KEYED:
 * but not those whose key an object has, and these are the parameter before it. SNAPSHOT as in
 * read. update leaves rows alone that differ in a column that the role may not update. */
char *sql_pairs_update(const struct place *place, const struct shape *shape);
/* The UPDATE that has these rows step aside before: see sql_table_aside(). */
char *sql_pairs_aside(const struct place *place, const struct shape *shape);
char *sql_pairs_differing(const struct place *place, const struct shape *shape);
char *sql_pairs_count(const struct place *place, const struct shape *shape);
char *sql_pairs_delete(const struct place *place, bool others, bool keyed, const char *snapshot);

/* Many rows as one document (KIND_TABLE), or as lines that show their key. The parameter after
 * the keys is a JSON array of objects; where SHAPE is given, all have its keys; where it is
 * not, all have their key. Returned SQL is malloc'd; NULL if out of memory. Pure. twice: a row,
 * with the key as text, if two objects have one key. delete: the file's rows whose key no
 * object has, or all where rows have no key; SNAPSHOT as in sql_remove_older(). absent: how many
 * rows it would delete; NULL where rows have no key. */
char *sql_table_twice(const struct place *place);
char *sql_table_absent(const struct place *place, const char *snapshot);
char *sql_table_delete(const struct place *place, const char *snapshot);
/* count: how many objects agree with the path and stand for a row that is there; how many of these
 * differ from it; and how many in a column that the role may not update. update: these rows, as far
 * as they differ, FIXED: in columns that the role may not update, too; NULL if there is
 * nothing to set. insert: the objects that stand for no row, in their order; NULL if no column
 * would get a value. skipped, after the insert: how many that agree with the path still stand for
 * no row. */
char *sql_table_count(const struct place *place, const struct shape *shape);
char *sql_table_update(const struct place *place, const struct shape *shape, bool fixed);
/* An UPDATE that makes room for the update, where rows exchange values of a unique index that is
 * checked row by row: rows whose values of it change get others that no row has. NULL: there is no
 * such index, or none whose columns have such values. */
char *sql_table_aside(const struct place *place, const struct shape *shape);
char *sql_table_insert(const struct place *place, const struct shape *shape);
char *sql_table_skipped(const struct place *place, const struct shape *shape);
/* True if the objects of SHAPE have their key. */
bool sql_table_has_key(const struct place *place, const struct shape *shape);

/* True if rows of PLACE's table may refer to other rows of it. */
bool sql_refers_to_itself(const struct place *place);
/* One statement that does what the N statements STEPS do, one after the other; they return nothing.
 * Rows of the answer are a step's number and how many rows it has changed. Foreign keys are checked
 * when all of them are done. malloc'd; NULL if out of memory. Pure. */
char *sql_together(char *const *steps, int n);

/* True if SHAPE holds every column of the target's key: a replacement can go row by row. */
bool sql_has_key(const struct place *place, const struct shape *shape);
