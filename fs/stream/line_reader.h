/* The one reader of lines: it cuts the bytes of a file into records, knows which columns the
 * fields are, and says which records are no lines at all. Appended rows files,
 * files that are written anew and ingest files read with it. What a line means is its taker's to
 * say. One thread at a time. */
#pragma once

#include "schema/layout/line_columns.h"
#include "util/text/record.h"

struct line_reader {
	struct record_reader records;
	/* The fields, once the first line was seen. It stays known when another text begins
	 * (line_reader_restart()), until line_reader_forget(). */
	bool known;
	int n;
	int *order;                    /* which of the file's columns each field is; owned */
	const struct column **columns; /* the column of each field; owned array */
	struct field_rule *rules;      /* owned; may be changed until the first line_check() */
	struct line_checker checker;
};

/* What is done with what is found. Each returns 0, or -errno: then the reader stops, and the
 * record, or the first line, comes again. */
struct line_taker {
	/* The first line, where records are fields: it is to make the fields known. */
	int (*first)(void *arg, const struct record_found *first);
	/* A record that may be a row. */
	int (*row)(void *arg, const struct record_found *found);
	/* A record that is none, for the reason RC (-errno) and the sentence WHY. */
	int (*refuse)(void *arg, const struct record_found *found, int rc, const char *why);
	/* of line_refuse() */
	const char *too_long;
	int too_long_rc;
	bool mark_fits;  /* a byte order mark before a header is no mistake */
	bool keeps_tail; /* what stands behind the last line end is left to its owner */
};

/* R, which is all 0, is at the start of a file of FORMAT; MOST bytes a record. */
void line_reader_begin(struct line_reader *r, const struct format *format, size_t most);
/* Another text begins. The number of lines goes on. */
void line_reader_restart(struct line_reader *r);
/* The fields are not known any more: the next first line says them. */
void line_reader_forget(struct line_reader *r);

/* Notes that the N fields of the lines are COLUMNS[ORDER[i]]; HEADER: the first line, which is not
 * taken yet, says so. Returns 0 or -ENOMEM: then they are not known. */
MUST_USE int line_reader_set(struct line_reader *r, const struct column *const *columns,
			     const int *order, int n, bool header);
/* The same for FIRST, which may be a header of the N COLUMNS; else the fields are all of them. If
 * the fields are known, they stay. NULL_FITS: a field that is NULL is not judged here. */
MUST_USE int line_reader_learn(struct line_reader *r, const struct column *const *columns, int n,
			       const struct record_found *first, bool null_fits);

/* Gives TAKER, with ARG, the records at the start of the LEN bytes at DATA; MORE says what is known
 * of the bytes behind. *TAKEN is how many bytes they are. Returns 0, or what the taker returned. */
MUST_USE int line_reader_take(struct line_reader *r, const char *data, size_t len,
			      enum record_more more, const struct line_taker *taker, void *arg,
			      size_t *taken);
/* Gives it one record of KIND that was cut by record_next(). */
MUST_USE int line_reader_give(const struct line_taker *taker, void *arg, enum record_kind kind,
			      const struct record_found *found);
