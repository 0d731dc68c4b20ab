/* Ids that rowfs gives to rows: a row whose key is one uuid with a default, which its line leaves
 * out, gets one here. So a repeated insert would be noticed, and rows that are in the order of
 * their keys are in that of the lines. */
#pragma once

#include "schema/layout/place.h"
#include "util/buf.h"
#include "util/text/json_shape.h"

/* The key of PLACE's rows, if rowfs gives it to lines that leave it out; else NULL. */
const struct column *rows_id_column(const struct place *place);

/* The same for a line with the columns SHAPE: NULL if it has that one. */
const struct column *rows_id_of(const struct place *place, const struct shape *shape);

/* Appends the object of LEN bytes, which has the columns of SHAPE, with a new value of ID as
 * well. */
void rows_put_with_id(struct buf *out, const struct column *id, const struct shape *shape,
		      const char *json, size_t len);
