/* The part of tree_build() that asks the catalog: keys, joins, columns. Private to schema/. */
#ifndef ROWFS_SCHEMA_TREE_CHECK_H
#define ROWFS_SCHEMA_TREE_CHECK_H

#include "schema/tree.h"

struct check {
	const struct layout *layout;
	const struct catalog *catalog;
	const struct layout_route *route; /* the one being added */
	struct buf *mistakes;
};

/* Appends one line "route PATH: ...". */
void check_mistake(struct check *c, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Checks what "tables" says. */
void check_tables(struct check *c);

/* Makes ROUTE the one that the following calls speak of. */
void check_begin_route(struct check *c, const struct layout_route *route);

/* Parses PLACE's text into parts and keys, binds the keys and extends the scope. False after a mistake. */
bool check_component(struct check *c, struct place *place);

/* Makes PLACE the route's file: target, columns, order. False after a mistake. */
bool check_file(struct check *c, struct place *place);

#endif
