/* Lines on their way to rows: cut, taken apart, gathered. Between rows_lines.c (text to JSON),
 * rows_write.c (appending) and rows_replace.c (replacing). */
#pragma once

#include "fs/core/call.h"
#include "fs/rows/rows_file.h"
#include "schema/state/ledger.h"
#include "util/text/record.h"
#include "util/text/json_shape.h"
#include "schema/statements/sql.h"

/* One line on its way. Offsets, since the buffers that they point into grow. */
struct line {
	size_t raw_at, raw_len;   /* in the input */
	size_t json_at, json_len; /* in the group's json */
	uint64_t number;          /* of the line that it begins in, counted from 1 */
};

/* Lines that have the same columns. */
struct line_group {
	struct shape shape;
	struct buf json;
	struct line *lines;
	int n;
};

/* What one commit works on. */
struct input {
	struct call *call;
	struct line_reader *lines; /* cuts them; NULL: they are no lines of a file */
	const struct where *w;
	const char *raw;
	const char
		*since;  /* a pg_snapshot: what was not there then is not replaced; NULL: all is */
	uint64_t most;   /* bytes that the lines of the file may have that are replaced */
	bool ids_later;  /* a line that leaves out its id gets none: it may be that of an old row */
	size_t settled;  /* the lines before this byte are committed or refused */
	int first_error; /* -errno of the first line that was refused */
};

void group_free(struct line_group *b);
/* Adds a line to a group that is empty or has its SHAPE, which an empty one takes over. Returns 0
 * or -errno. */
MUST_USE int group_add(struct call *call, struct line_group *b, const struct line *line,
		       struct shape *shape, const struct buf *json);
/* Appends lines LOW to HIGH of B, "a,b,c"; a comma first if OUT has something. */
void group_put(struct buf *out, const struct line_group *b, int low, int high);

/* What is done with a row's line: JSON is its object (borrowed), SHAPE its columns (may be taken
 * over). */
typedef int (*line_fn)(struct input *in, void *arg, const struct line *line, struct shape *shape,
		       const struct buf *json);

/* Calls EACH with ARG for every record of IN->raw that is a row; MORE says what is known of the
 * bytes behind. Lines that are refused go to rejected/, or with STRICT end the walk. *TAKEN is how
 * many bytes were records. The reader goes on where the last call ended, with what was not
 * taken first. */
MUST_USE int lines_each(struct input *in, size_t len, enum record_more more, bool strict,
			line_fn each, void *arg, size_t *taken);

/* True if the fields of the lines that LINES (may be NULL) has cut are the columns that PLACE's
 * files show, in their order. */
bool rows_columns_as_shown(const struct line_reader *lines, const struct place *place);

/* Keeps a refused line in rejected/. */
void lines_reject(struct input *in, const struct line *line, int rc);

/* The number of the line in which a quoted field began that is not closed in what F's data keeps;
 * 0: there is none. */
uint64_t rows_open_line(const struct rows_file *f);

/* Drops what H's data has, the piece of a record: what is written next begins one. */
void rows_drop_rest(struct handle *h);

/* F, a file at PLACE, has no line yet; a line has at most MOST bytes. */
void rows_lines_begin(struct rows_file *f, const struct place *place, uint64_t most);

/* Keeps each line of TEXT, written to the file W behind LINES others, in rejected/, for the reason
 * RC and CALL's error. Returns how many lines there are then. */
uint64_t rows_reject_lines(struct call *call, const struct where *w, const struct buf *text,
			   uint64_t lines, int rc);

/* True if the bytes behind the last newline in H's data are a whole line all the same. */
bool rows_tail_is_whole(const struct handle *h, const struct place *place);
