/* The formats of lines, as far as text goes: how a rows file, an ingest file and the lines of an
 * import are written. A new one has a file with its functions, a row in format.c, and its SQL in
 * schema/expr/line_sql.c; everything else asks the table. Pure; any thread. */
#pragma once

#include "util/text/line.h"

struct format {
	const char *word; /* in a layout; behind a dot, the extension of its files */
	/* Takes a record apart into fields, as csv_split(). What they are, the first line may say,
	 * or else the layout. NULL: a record is a JSON object, in one line. */
	int (*split)(const char *line, size_t len, struct csv_record *out, struct buf *why);
	/* Judges the fields, as line_check(). NULL without `split`. */
	int (*check)(struct line_checker *c, const char *line, size_t len, struct buf *why);
	/* where a record ends: a field in quotes may go on behind a line end, see record.h */
	bool quotes;
	/* COPY (FORMAT csv) takes the lines and writes them as they stand, and line_check() says
	 * how long they are: they can be counted without the server */
	bool by_copy;
};

extern const struct format format_csv, format_jsonl;

/* The format that the LEN bytes at WORD name; NULL: none. */
const struct format *format_called(const char *word, size_t len);
/* The same for the extension of a path; NULL: it is no file of lines. */
const struct format *format_of(const char *path, size_t len);
