/* CSV records: cut and split, nothing converted. RFC 4180 with LF or CRLF. Pure; thread-safe. */
#ifndef ROWFS_SCHEMA_CSV_H
#define ROWFS_SCHEMA_CSV_H

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

/* Length of the first record in LEN bytes, its newline included; 0 if it does not end there. *STATE carries whether a
 * quote is open over calls that continue at byte *DONE; both start as 0. */
size_t csv_cut(const char *data, size_t len, size_t *done, bool *in_quotes);

/* Splits one record (newline already taken off). Returns 0, or -EINVAL with a sentence appended to WHY. */
MUST_USE int csv_split(const char *line, size_t len, struct csv_record *out, struct buf *why);

/* The field as bytes; not NUL-terminated. */
const char *csv_text(const struct csv_record *record, int field);

#endif
