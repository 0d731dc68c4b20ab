/* What a table's columns say of a file of fields: the rule for each field, and whether a first line
 * is a header. Pure; thread-safe. */
#pragma once

#include "schema/layout/catalog.h"
#include "util/text/format.h"

/* The rule for COLUMN, from its type and modifier (domains: FIELD_SERVER). It borrows from
 * COLUMN. */
struct field_rule field_rule_of(const struct column *column);

/* True if every field of LINE (of FORMAT, LEN bytes, without a byte order mark) names one of the N
 * columns and none twice: then it is a header, and ORDER[i] (room for N) is the index of field i's
 * column; *FIELDS their number. */
bool line_is_header(const struct format *format, const char *line, size_t len,
		    const struct column *const *columns, int n, int *order, int *fields);
