/* The part of tree_build() that asks the catalog: keys, joins, columns. Private to schema/. */
#pragma once

#include "schema/layout/check.h"

/* Parses PLACE's text into parts and keys, which are bound to nothing. False after a mistake that
 * check_component() tells, or if out of memory. */
bool check_shape(struct check *c, struct place *place);

/* Parses PLACE's text into parts and keys, binds the keys and extends the scope. False after a
 * mistake. */
bool check_component(struct check *c, struct place *place);

/* Makes PLACE the route's file: target, columns, order. False after a mistake. */
bool check_file(struct check *c, struct place *place);
