/* The strict checker of CSV lines: the authority on what is a row's line. COPY by itself would
 * swallow too much (a line `\.` ends its data, a stray quote eats the lines behind it) and accept
 * too much. It judges and never converts: what is sent to the server is the line's own bytes. For
 * numbers it also knows how long the server's text for them will be. Pure; a checker belongs to one
 * thread at a time. Source of the format: RFC 4180, and PostgreSQL's documentation of COPY. */
#pragma once

#include "util/text/csv.h"

enum field_kind {
	/* only the server can judge it, and only the server knows how long its text will be */
	FIELD_SERVER,
	FIELD_TEXT,    /* text, character varying(n) */
	FIELD_INTEGER, /* smallint, integer, bigint */
	FIELD_NUMERIC, /* numeric, numeric(p,s) */
};

struct field_rule {
	const char *name, *type; /* of the column, for sentences; borrowed */
	bool not_null;
	bool newlines; /* a quoted field can hold one */
	enum field_kind kind;
	int max_chars;        /* FIELD_TEXT: most characters, -1 for any number */
	int bits;             /* FIELD_INTEGER: 16, 32 or 64 */
	int precision, scale; /* FIELD_NUMERIC; precision is -1 for any number */
};

struct line_checker {
	const struct field_rule *rules; /* of each field, in the line's order; borrowed */
	int n;
	/* after line_check(), n of each; the fields borrow from the line and from `decoded` */
	struct csv_field *fields;
	/* bytes of the fields in a file that rowfs writes, quotes included; -1: only the server
	 * knows; 0 for NULL */
	int64_t *rendered;
	struct buf decoded;
};

/* RULES must outlive the checker. Returns 0 or -ENOMEM. */
MUST_USE int line_checker_init(struct line_checker *c, const struct field_rule *rules, int n);
void line_checker_free(struct line_checker *c);

/* Judges LINE (LEN bytes, line end taken off). Returns 0 and fills c->fields, or -EINVAL (-EFBIG
 * for a text too long for its column) with a sentence in WHY that names the column. On 0 the raw
 * fields, joined by commas in any order, are a record that COPY (FORMAT csv) takes as exactly this
 * row. An empty LINE is the NULL of a file with one column, and refused otherwise. A header is
 * refused unless all columns can hold its words: the caller must have looked for one in the first
 * line. */
MUST_USE int line_check(struct line_checker *c, const char *line, size_t len, struct buf *why);
