/* Slices: what a rows file is, seen from its table. Each row of the table belongs to one file of
 * the slice, named by key texts that are made of the row alone; the summary (rowfs.summary and
 * rowfs.delta) holds rows, bytes and time of the last change for each. Triggers on the table keep
 * it for every writer; the daemon's own appends bring their counts along and switch the triggers
 * off (the setting rowfs.daemon is the proof in rowfs.secret).
 *
 * Two places with the same table, keys, line format and time share a slice. What depends on how a
 * path reaches the table is therefore no part of it: one route may have a key by the foreign key of
 * its parent's row, another as a key of its own. */
#pragma once

#include "schema/layout/catalog.h"

#include <stdatomic.h>

enum { SLICE_KEYS = 4 }; /* keys that rowfs.summary has columns for */

struct tree;

/* One key of a slice: a column of the table, as text or as a time bucket. */
struct slice_key {
	const struct column *column;
	const char *unit, *format; /* as in struct key; NULL: the column's text */
};

struct slice {
	int64_t id; /* a hash of the definition: the same in every mount */
	const struct relation *rel;
	struct slice_key keys[SLICE_KEYS];
	int nkeys;
	const struct column *const *columns; /* of the line; the place's */
	int ncolumns;
	const struct column
		*mtime; /* what is taken as the time of a row that was there before; NULL: none */
	const struct format *format; /* of the line */
	bool usable; /* installed and built: look-ups may go by it, and writers must count for it */
	/* usable, and rows arrive as they were sent (no trigger or rule of the table's own): a
	 * writer may bring his counts along and switch the triggers off. watch_again() takes it
	 * back while others read it */
	atomic_bool counted;
	/* a JSON object with columns of rowfs.slice: names, units and formats */
	char *definition;
	/* files for which the summary was found to be wrong: see watch_compare() */
	int64_t differed;
	char *why;       /* not usable: the reason; owned, may be NULL */
	bool missing;    /* not usable, and watch_tree() with WATCH_INSTALL is what helps */
	bool repairable; /* its triggers are there, and only its files are to be counted anew */
	bool made;       /* installed or counted by this process */
};

/* Gives each rows place, and each directory that groups rows, its slice where it can have one.
 * Pure. False if out of memory. */
MUST_USE bool slices_make(struct tree *tree);
