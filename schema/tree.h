/* The route tree: a layout checked against the catalog.
 *
 * Each place is one component of a path template. A place with keys stands for as many names as the
 * database has values; a place without keys is one literal name. A place is a file (it has a route)
 * or a directory (it has children), never both. Keys of a path are numbered from the root: key I is
 * SQL parameter $I+1 of every statement at or below its place.
 *
 * Immutable once built: any thread may read it. */
#ifndef ROWFS_SCHEMA_TREE_H
#define ROWFS_SCHEMA_TREE_H

#include "schema/catalog.h"
#include "schema/lack.h"
#include "schema/slice.h"
#include "schema/sql.h"

struct ingest;

enum { PATH_KEYS_MAX = 32 }; /* keys on one path */

/* A key in braces, bound. */
struct key {
	char *name;                  /* as written */
	int param;                   /* its number on the path, from 0 */
	int table;                   /* index into the scope, -1 for a parameter of a query */
	const struct column *column; /* NULL for a parameter of a query */
	const char *unit, *format; /* time bucket; both NULL otherwise; borrowed from the layout */
};

/* A table that the path has reached, and how. */
struct scope_table {
	const struct relation *rel;
	int joined; /* index of the table that it is joined to; -1 for the first */
	const struct foreign_key *fk; /* NULL for the first */
	bool upwards;                 /* fk is the joined table's and points here */
	bool determined;              /* the keys so far determine one row of it */
};

struct scope {
	struct scope_table *tables;
	int n;
};

/* A component's text: literal, or the key with that index in the place. */
struct part {
	char *literal; /* NULL for a key */
	int key;
};

struct place {
	int number;           /* its index in tree->all */
	struct place *parent; /* NULL for the root */
	struct place **children;
	int nchildren;
	struct place **keyed; /* those of them that have keys: see place_rank_children() */
	int nkeyed;
	struct place **rivals; /* siblings that a name of its shape may belong to instead */
	int nrivals;
	char *text; /* the component as written; "" for the root */
	struct part *parts;
	int nparts;
	struct key *keys; /* keys of this component */
	int nkeys;
	int nparams; /* keys on the path, own ones included */
	struct scope scope;
	/* index into scope of the table that the own keys list; -1 without own keys */
	int row_table;
	bool row_dir; /* a directory whose keys determine one row of row_table */
	/* and which has that row's document in it: mkdir, rmdir and mv make, delete and rename
	 * the row */
	bool owns_row;

	/* files only */
	const struct layout_route *route; /* NULL for a directory */
	int target; /* index into scope of the route's relation; -1 for query and file */
	const struct function *function; /* a query that is a function */
	const struct relation *view;     /* a query that is a view */
	const struct column *column;     /* KIND_COLUMN */
	const struct column **columns;   /* of the document or line, in order */
	int ncolumns;
	const struct column **order; /* rows: NULL-terminated */
	const struct column *by;     /* KIND_TABLE as an object: its keys */
	const struct name_list
		*match; /* KIND_TABLE: what tells its rows apart; NULL: nothing does */
	bool grouped;   /* rows: the keys are the target's own; it exists while it has rows */
	const struct column *mtime; /* NULL if none */
	/* Rows, and directories that group rows: where the summary has them; NULL: nowhere. See
	 * slice.h. */
	struct slice *slice;
	/* how many of the slice's keys, the first, come from the parent's row by the foreign key */
	int slice_joined;
	struct ingest *ingest; /* KIND_FILE whose lines become rows; else NULL; owned */

	enum layout_write write; /* what may be changed at and below it; never WRITE_UNSAID */
	bool recodes;            /* see catalog.h */
	bool stays; /* must not be removed: its own route says so, or that of its row */

	struct place_sql sql;
};

struct tree {
	struct place *root;
	struct place **all; /* every place, root first */
	int nall;
	struct tree_timer {
		char *sql;
		const char *every; /* name of the option that holds the interval; borrowed */
	} * timers;
	int ntimers;
	int nroutes;           /* that were not left out */
	struct lacks lacks;    /* what the database does not have, and the layout does without */
	struct slice **slices; /* of all rows files, each once */
	int nslices;
	bool has_ledger, has_streams;
};

/* Builds the tree. Every mistake of the layout against the catalog is one line in MISTAKES, naming
 * route, key and column. Returns NULL if there was any, here or before (MISTAKES is not empty).
 * LAYOUT and CATALOG are borrowed and must outlive the tree. */
MUST_USE struct tree *tree_build(const struct layout *layout, const struct catalog *catalog,
				 struct buf *mistakes);
void tree_free(struct tree *tree);

/* Makes the statements anew of the places whose slice is usable; before the tree is shared. False
 * if out of memory. */
MUST_USE bool tree_use_slices(struct tree *tree);

enum match {
	MATCH_NO, /* the name has another shape */
	/* it has the shape, but a value that is the encoding of no key, or another spelling of
	 * one */
	MATCH_BAD,
	/* it has the shape, but a text that is no value of the key's type: see key_text.h */
	MATCH_NO_VALUE,
	MATCH_KEYS, /* the values are the keys */
	MATCH_ID,   /* the value is the row's id, of a key that is too long for a name */
};

/* Takes NAME apart by the place's component. With MATCH_KEYS and MATCH_ID, VALUES (room for nkeys)
 * gets a malloc'd string for each key. Where several places of a directory match, NAME belongs to
 * the first of the directory's `keyed`. */
enum match place_match(const struct place *place, const char *name, char **values);

/* Sets the directory's `keyed`, and the `rivals` of each: places with more literal text come first
 * ({name}.meta.json before {name}.json), then as in the layout. A name belongs to a literal place,
 * else to the first keyed one that matches. So every row has one name, which leads to it alone:
 * place_name() writes characters of a key in hex until no other place takes the name. False if out
 * of memory. */
MUST_USE bool place_rank_children(struct place *dir);

/* Appends the file name for key VALUES (nkeys C strings); ID is what find_by_id takes, for a name
 * that would be too long. Returns false if there is no name, or even that is too long. */
bool place_name(const struct place *place, const char *const *values, const char *id,
		struct buf *out);

/* The literal child called NAME, or NULL. */
struct place *place_literal(const struct place *dir, const char *name);

/* True for a file whose bytes are CSV or JSON Lines; by the extension of its path. */
enum file_format { FORMAT_TEXT, FORMAT_JSON, FORMAT_JSONL, FORMAT_CSV };
enum file_format path_format(const char *path);

#endif
