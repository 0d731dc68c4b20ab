/* CSV records are split, nothing is converted (util/text/record.h says where one ends). RFC 4180
 * with LF or CRLF. Pure; thread-safe. */
#ifndef ROWFS_UTIL_TEXT_CSV_H
#define ROWFS_UTIL_TEXT_CSV_H

#include "util/buf.h"

struct csv_field {
	size_t at, len; /* decoded bytes in the record's buf */
	bool quoted;    /* an empty field that is not quoted is NULL */
};

struct csv_record {
	struct buf text; /* decoded fields, one behind the other */
	struct csv_field *fields;
	int n;
};

#define AUTO_CSV __attribute__((cleanup(csv_free)))

void csv_free(struct csv_record *record);

/* Splits one record (newline already taken off). Returns 0, or -EINVAL with a sentence appended to
 * WHY. */
MUST_USE int csv_split(const char *line, size_t len, struct csv_record *out, struct buf *why);

/* The field as bytes; not NUL-terminated. */
const char *csv_text(const struct csv_record *record, int field);

#endif
