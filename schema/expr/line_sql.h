/* A row as a line of a rows file, in SQL. Private to schema/. */
#pragma once

#include "schema/layout/place.h"

/* What a format of lines is in SQL. */
struct line_sql {
	const struct format *format;
	/* the row as one line without its newline, of the columns of table ALIAS */
	void (*put)(struct buf *sql, const struct place *place, const char *alias);
	/* the same as what COPY selects, in its format `copy` */
	void (*put_fields)(struct buf *sql, const struct place *place);
	const char *copy;
	/* a file's first line, with its newline; NULL: it has none */
	void (*put_header)(struct buf *out, const struct place *place);
	const char *query;        /* all rows q of a query, an aggregate */
	const char *query_header; /* before them: of one row q, its columns; NULL: none */
};

/* For a place with a format. */
const struct line_sql *line_sql_of(const struct place *place);
/* The row as one line without its newline; columns of table ALIAS. */
void put_line(struct buf *sql, const struct place *place, const char *alias);
/* The same for the place's own table. */
void put_line_of(struct buf *sql, const struct place *place);
/* True if the output function of COLUMN's type writes what its cast to text does. */
bool prints_as_text(const struct column *column);
