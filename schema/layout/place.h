/* The places of a route tree, as data.
 *
 * Each place is one component of a path template. A place with keys stands for as many names as the
 * database has values; a place without keys is one literal name. A place is a file (it has a route)
 * or a directory (it has children), never both. Keys of a path are numbered from the root: key I is
 * SQL parameter $I+1 of every statement at or below its place. */
#pragma once

#include "schema/layout/catalog.h"
#include "schema/layout/lack.h"
#include "schema/layout/place_sql.h"
#include "util/arena.h"
#include "util/text/format.h"

#include <stdatomic.h>

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
	const struct tree *tree; /* that it belongs to */
	struct arena *memory;    /* the tree's: of all that the place has but its children */
	int number;              /* its index in tree->all */
	/* the first route of the layout that goes through it, fits or not: another one in each
	 * child of a directory */
	int first;
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

	/* The database has changed, and a route does not fit it any more: the sentence, and the
	 * place stands for all names of its shape and what was below them. Its route is one of
	 * plain files then. NULL: it fits. */
	const char *misfit;

	/* files only */
	const struct layout_route *route; /* NULL for a directory */
	const struct format *format;      /* of its lines, by the extension; NULL: it has none */
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
	/* a literal name that is there whenever its directory is: a query's or a whole table's */
	bool always;
	const struct column *mtime; /* NULL if none */
	/* Rows, and directories that group rows: where the summary has them; NULL: nowhere. See
	 * slice.h. */
	struct slice *slice;
	/* how many of the slice's keys, the first, come from the parent's row by the foreign key */
	int slice_joined;
	struct ingest *ingest; /* KIND_FILE whose lines become rows; else NULL */

	enum layout_write write; /* what may be changed at and below it; never WRITE_UNSAID */
	bool recodes;            /* see catalog.h */
	bool stays; /* must not be removed: its own route says so, or that of its row */
	/* whether the role's rights, and the server, let anything of a file be read, and written:
	 * for its mode */
	bool may_read, may_write;

	struct place_sql sql;

	/* for whoever serves it: when all of it changed last, see fs/inodes/fresh.h */
	atomic_ulong changed;
	atomic_llong changed_ns; /* the same, since 1970; 0: never */
};

struct tree {
	struct arena memory;       /* of the tree and its places */
	struct snapshot *snapshot; /* that it belongs to; NULL: none, as in tests */
	struct place *root;
	struct place **all; /* every place, root first */
	int nall;
	struct tree_timer {
		const struct function *function; /* takes no arguments */
		char *sql;
		const char *every; /* name of the option that holds the interval; borrowed */
	} * timers;
	int ntimers;
	int nroutes;    /* that were not left out */
	char **misfits; /* for each route of the layout: why it does not fit any more, or NULL */
	struct lacks lacks;    /* what the database does not have, and the layout does without */
	struct slice **slices; /* of all rows files, each once */
	int nslices;
	bool has_ledger, has_streams;
};
