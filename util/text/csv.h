/* CSV: where a field ends and what its text is, RFC 4180 with LF or CRLF. Records are split,
 * nothing is converted. util/text/record.h says where a record ends, util/text/line.h whether it
 * is a row. Pure; thread-safe. */
#pragma once

#include "util/buf.h"

#include <stdint.h>
#include <string.h>

struct csv_field {
	const char *raw; /* as it stands in the line, quotes included */
	size_t raw_len;
	const char
		*text; /* decoded, not NUL-terminated; in the line, or in a buf of decoded texts */
	size_t len;
	bool null; /* empty and not quoted */
};

/* The same as csv_next() of a field that is quoted. */
MUST_USE const char *csv_next_quoted(const char **at, const char *end, struct buf *decoded,
				     struct csv_field *out);

/* Takes the field at *AT, which ends before END; *AT is at the comma behind it then, or END. A text
 * with doubled quotes is added to DECODED, which must have room for the rest of the line, since
 * fields point into it. DECODED is NULL for a line without a quote. Returns NULL, or what is wrong
 * with the field: a static sentence. */
MUST_USE static inline const char *csv_next(const char **at, const char *end, struct buf *decoded,
					    struct csv_field *out) {
	const char *raw = *at;
	if (decoded != NULL && raw < end && *raw == '"')
		return csv_next_quoted(at, end, decoded, out);
	const char *comma = memchr(raw, ',', (size_t)(end - raw));
	size_t len = (size_t)((comma != NULL ? comma : end) - raw);
	if (decoded != NULL && memchr(raw, '"', len) != NULL)
		return "a quote inside a field that is not quoted";
	*out = (struct csv_field){
		.raw = raw, .raw_len = len, .text = raw, .len = len, .null = len == 0
	};
	*at += len;
	return NULL;
}

struct csv_record {
	struct csv_field *fields; /* they borrow from the line */
	int n;
	struct buf decoded;
};

#define AUTO_CSV __attribute__((cleanup(csv_free)))

void csv_free(struct csv_record *record);

/* Splits one record (newline already taken off), which the fields borrow from. OUT may have been
 * used before. Returns 0, or -EINVAL with a sentence appended to WHY. */
MUST_USE int csv_split(const char *line, size_t len, struct csv_record *out, struct buf *why);

/* Which of NAMES the text is; negative: none. */
typedef int csv_find(const void *names, const char *text, size_t len);

/* True if RECORD is a header: every field is one of NAMES, and none stands twice. ORDER[i] (room
 * for each field) is which one field i is. */
bool csv_is_header(const struct csv_record *record, csv_find *find, const void *names, int *order);

/* Bytes of the text as a field of a file that rowfs writes, quotes included; it is not NULL. */
int64_t csv_length(const char *text, size_t len);
