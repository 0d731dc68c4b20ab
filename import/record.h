/* The records of a rows file, one after the other, and what they mean as 128 bits: two records with
 * the same hash say the same. A file is read as a stream; the longest record is held in memory. Not
 * thread-safe: one owner each. */
#pragma once

#include "util/text/csv.h"
#include "util/text/record.h"
#include "util/text/json_shape.h"
#include "util/buf.h"

#include <stdint.h>

struct records {
	int fd;
	struct buf data;
	size_t at; /* in data: the next record */
	bool ended;
	uint64_t offset; /* in the file, of the next record */
	struct record_reader reader;
	struct field_rule *rules; /* of the reader: the types are the mount's business; owned */
	struct line_checker checker;
	struct shape columns; /* what the fields are, in their order; empty: not known yet */
	struct csv_record split;
};

struct record {
	const char *text; /* borrowed until the next call; without its line end */
	size_t len;
	uint64_t offset, end; /* in the file, the line end included */
	uint64_t line;        /* that it begins in, from 1 */
};

struct hash {
	uint64_t a, b;
};

#define AUTO_RECORDS __attribute__((cleanup(records_close)))

/* Reads FD, a file of FORMAT, which it takes over; -errno instead of a descriptor is given back.
 * Where records are fields, COLUMNS (borrowed, may be NULL) are the fields' names if the file has
 * no header: a first line of which every field is one of them is a header; without COLUMNS the
 * first line is one. Returns 0 or -errno. */
MUST_USE int records_open(struct records *r, int fd, const struct format *format,
			  const struct shape *columns);
void records_close(struct records *r);
/* The next record; blank lines are left out. Returns 1, 0 at the end, or -errno. */
MUST_USE int records_next(struct records *r, struct record *out);

enum { FORMS_MOST = 32 };

/* The different columns that the records of one file have. */
struct forms {
	struct shape list[FORMS_MOST];
	int n;
};

void forms_free(struct forms *forms);
/* The columns of the record itself, in order, which are added to FORMS: a CSV's header, the keys of
 * a JSON object; none if it is no record: then it is compared as its text. If there are too many
 * forms, another one. Borrowed from FORMS. */
const struct shape *forms_of(struct forms *forms, const struct records *r,
			     const struct record *record);
/* What the record says of the columns in FORM. */
struct hash records_hash(struct records *r, const struct record *record, const struct shape *form);
