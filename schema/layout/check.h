/* What a layout is told of while it is checked against the catalog: mistakes, and what the database
 * lacks. Private to schema/. */
#pragma once

#include "schema/layout/place.h"

struct check {
	const struct layout *layout;
	const struct catalog *catalog;
	const struct layout_route *route; /* the one being added */
	bool optional;                    /* it is left out where the database lacks something */
	const struct tree *before;        /* see tree_build() */
	struct buf *mistakes;
	struct lacks *lacks;
	int lack; /* 1 + what the route lacks, so that it is left out; 0: nothing */
};

/* Appends one line "route PATH: ...". False. */
bool check_mistake(struct check *c, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* The database does not have RELATION, a KIND of thing, or its COLUMN, if there is one. Where the
 * route is optional, this is what it lacks; otherwise a mistake, one line "route PATH: ...".
 * False. */
bool check_missing(struct check *c, const char *kind, const char *relation, const char *column,
		   const char *fmt, ...) PRINTF_LIKE(5, 6);

/* The relation NAME as the route names it, with "WORDS: KIND NAME does not exist" where it is
 * missing. NULL also where "tables" names columns of it that are. */
const struct relation *check_relation(struct check *c, const char *words, const char *kind,
				      const char *name);

/* False, after telling it, if "tables" says by which columns REL is identified or joined, and they
 * are missing. */
bool check_said_columns(struct check *c, const struct relation *rel);

/* Tells, once, if the mount's role may not read COLUMN of REL, by which files are found or ordered:
 * such a file is refused by the server when it is used. COLUMN may be NULL: none. */
void check_readable(struct check *c, const struct relation *rel, const struct column *column);

/* Checks what "tables" says. */
void check_tables(struct check *c);
