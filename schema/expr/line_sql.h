/* A row as a line of a rows file, in SQL. Private to schema/. */
#ifndef ROWFS_SCHEMA_EXPR_LINE_SQL_H
#define ROWFS_SCHEMA_EXPR_LINE_SQL_H

#include "schema/layout/place.h"

/* The row as one line without its newline. */
void put_line(struct buf *sql, const struct place *place, const char *alias);
/* A file's first line, with its newline. */
void put_header(struct buf *out, const struct place *place);
/* True if the output function of COLUMN's type writes what its cast to text does. */
bool prints_as_text(const struct column *column);
/* The fields of a line, so that COPY's own CSV is what put_line() would write. */
void put_copy_fields(struct buf *sql, const struct place *place);
/* A row q of a query as a line of CSV, and its header. */
extern const char query_csv_line[], query_csv_header[];

#endif
