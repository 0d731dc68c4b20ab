/* The bytes of an ingest file on their way to rows: inflated, cut into lines, judged, counted.
 * Nothing here asks the database, but for time buckets (see count.h). One thread at a time; no
 * part of it outlives its place. */
#pragma once

#include "util/text/gunzip.h"
#include "fs/stream/refusals.h"
#include "schema/layout/ingest.h"
#include "fs/stream/line_reader.h"
#include "util/text/json_shape.h"
#include "schema/count/tally.h"

/* A line that is a row. */
struct ingest_line {
	const char
		*text;   /* where it stands in the bytes that were fed; NULL: in the unit's text, */
	size_t at;       /* there */
	size_t len;      /* with a line end */
	uint64_t number; /* in the uncompressed file, from 1 */
	int shape;       /* index into the unit's shapes */
	int64_t id;      /* of its row; 0: none yet */
};

/* What became of some bytes. */
struct ingest_unit {
	struct buf text; /* lines that do not stand as a whole in what was fed */
	struct ingest_line *lines;
	int n;
	struct shape *shapes; /* the keys of the lines as objects; of fields, one */
	int nshapes;
	struct refusals refused; /* lines that are no rows */
	struct tally tally;      /* what the lines add to the summary */
	bool uncounted;          /* it is not complete: the triggers must count */
	bool has_tail; /* the last line has no newline yet: it is taken for the time being */
};

/* A line's text; its newline may be another line end. Borrowed. */
static inline const char *ingest_line_text(const struct ingest_unit *unit,
					   const struct ingest_line *line) {
	return line->text != NULL ? line->text : unit->text.data + line->at;
}

void ingest_unit_clear(struct ingest_unit *unit);
/* Forgets the lines; what was refused stays. */
void ingest_unit_clear_lines(struct ingest_unit *unit);

struct ingest_parser {
	struct engine *engine;
	const struct ingest *in;
	bool gzip; /* the bytes are compressed */
	struct gunzip gz;
	struct buf text;           /* records not taken yet */
	struct line_reader reader; /* its fields are those of the layout's */
	uint64_t fed;              /* bytes of the file that were fed */
	/* records to pass over: they were taken before, by a version that counted them
	 * and not lines */
	uint64_t skip;
	/* Where a parse can begin: the start of a line, or of a member that begins with one. */
	uint64_t resume_at, resume_lines;
	bool tail_refused; /* the piece behind the last newline was refused, and said so */
	/* the fields are known from a first line that has no end yet: the next bytes may make
	 * another one of it */
	bool provisional;
	char *header;    /* as it was written; NULL if there was none; owned */
	char *unusable;  /* why no line can be taken: a sentence about the header; NULL; owned */
	uint64_t passed; /* the first line that was passed over for it and is not told yet; or 0 */
	struct counter *counter; /* NULL: the triggers count; owned */
	char *tail_id;           /* of the row that was made of an unfinished last line; owned */
};

/* A parse of bytes that are compressed, or not (GZIP); from the start, or with STATE (JSON of
 * parser_state()) from parser->resume_at on: feed it from there. 0 or -ENOMEM. */
MUST_USE int parser_begin(struct ingest_parser *p, struct engine *engine, const struct ingest *in,
			  bool gzip, const char *state);
void parser_free(struct ingest_parser *p);

/* Takes the next LEN bytes of the file. MORE: RECORD_MORE, or RECORD_SYNC if somebody wants to know
 * what they are. If the lines go by COPY, UNIT's may point into DATA, which then stays until UNIT
 * is cleared. Returns 0 or -ENOMEM. */
MUST_USE int parser_feed(struct ingest_parser *p, const char *data, size_t len,
			 enum record_more more, struct ingest_unit *unit);
/* The number of the line in which a quoted field began that is not closed yet; 0: there is none. */
uint64_t parser_open_line(const struct ingest_parser *p);
/* The file may be at its end: what stands behind the last whole record is a row if it is a record
 * by itself. If it is none, it is refused with LAST; otherwise it waits, and *BAD says why it is
 * none (an empty list if it is one, or nothing is there). It is still not taken: more bytes may
 * follow. Returns 0 or -ENOMEM. */
MUST_USE int parser_tail(struct ingest_parser *p, struct ingest_unit *unit, bool last,
			 struct refusals *bad);

/* Appends a line of a unit, of FORMAT, with its line end, as an object with the keys of its SHAPE.
 * A field is a string or null. False if it has other fields. */
MUST_USE bool ingest_put_object(const struct format *format, const struct shape *shape,
				const char *line, size_t len, struct buf *out);

/* Appends what the next parse must know, with TAIL_ID (may be NULL) the id of the tail's row. */
void parser_state(const struct ingest_parser *p, const char *tail_id, struct buf *out);
