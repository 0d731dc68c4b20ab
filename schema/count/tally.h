/* What lines add to the summary of rows files: so many rows and bytes for each file (slice and
 * keys). */
#pragma once

#include "db/query.h"
#include "util/text/line.h"
#include "schema/layout/slice.h"

/* -- sums -------------------------------------------------------------------------------------- */

struct tally_item {
	const struct slice *slice;
	char *keys[SLICE_KEYS]; /* texts; owned */
	int64_t rows, bytes;
};

struct tally {
	struct tally_item *items;
	int n, last; /* last: what the line before was counted for */
};

void tally_free(struct tally *t);
void tally_clear(struct tally *t);
/* Adds ROWS and BYTES for one file. Returns false if out of memory. */
MUST_USE bool tally_count(struct tally *t, const struct slice *slice, const char *const *keys,
			  int64_t rows, int64_t bytes);
/* Adds OTHER to T. */
MUST_USE bool tally_add(struct tally *t, const struct tally *other);

enum { TALLY_PARAMS = 4 + SLICE_KEYS - 1 };

/* Appends the statement that adds a tally to rowfs.summary, its parameters from $FIRST on. FROM: a
 * CTE that must have a row, or NULL. */
void tally_put_sql(struct buf *sql, int first, const char *from);
/* The same by itself. */
extern const char tally_sql[];

/* The parameters, in text that OUT holds. */
struct tally_texts {
	struct buf texts[TALLY_PARAMS];
};
MUST_USE bool tally_params(const struct tally *t, struct tally_texts *out, struct db_param *params);
void tally_texts_free(struct tally_texts *texts);

/* -- counting lines ---------------------------------------------------------------------------- */

struct bucket_cache;

/* How the lines of one source are counted for every slice of their table. */
struct counter;

/* One key that the path gives to every line. */
struct fixed_key {
	const struct column *column;
	const char *format; /* NULL: the column's text; else the time bucket's */
	const char *text;   /* borrowed */
};

/* For lines with COLUMNS (N, in their order) of REL, and keys that are FIXED. Returns 0 with *OUT
 * NULL if the table has slices whose counts only the server can know (or none): then the triggers
 * count. -ENOMEM. Borrows COLUMNS and what FIXED points to. */
MUST_USE int counter_new(const struct tree *tree, const struct relation *rel,
			 const struct column *const *columns, int n, const struct fixed_key *fixed,
			 int nfixed, struct counter **out);
void counter_free(struct counter *c);

/* Adds the line that CHECKER has just accepted to T, for lines that go by COPY, so that the
 * triggers need not. C may be NULL: nobody can count it here. *COUNTED becomes false if only the
 * server can, and a line after one that could not be counted is not counted either. Asks POOL for a
 * time bucket that is not in BUCKETS. Returns 0 or -ENOMEM. */
MUST_USE int counter_line(struct counter *c, struct bucket_cache *buckets, struct db_pool *pool,
			  const struct line_checker *checker, struct tally *t, bool *counted);

/* FIELD as an integer, if it is one of 64 bits. */
bool line_field_number(const struct csv_field *field, int64_t *out);
