/* Ingest files, as far as the layout and the catalog go: which table their lines become rows of, what the fields are called there, and
 * the SQL that puts them in. Immutable once built. */
#ifndef ROWFS_SCHEMA_INGEST_H
#define ROWFS_SCHEMA_INGEST_H

#include "schema/tree_check.h"

/* A name that a header or a JSON object of the file may have. */
struct ingest_field {
	const struct column *column;
	char *factor; /* what a number is multiplied with (SQL numeric), or NULL; owned */
};

struct ingest {
	const struct relation *rel;
	const struct column *key;      /* an integer that is drawn from a sequence */
	const struct column *overflow; /* jsonb for keys that no field takes, or NULL */
	struct ingest_field *fields;
	struct column *names; /* of the fields, for line_is_header(): their name is the file's */
	const struct column **header; /* the same as pointers */
	int nfields;
	int *plain; /* the fields of a line where no header was */
	int nplain;
	char *dir; /* the directory that its files are in; owned */
	bool csv;  /* else JSON Lines */
	bool gzip;
	bool has_factors;   /* some field is converted: its lines cannot go by COPY */
	bool keep_replaced; /* replacing a file keeps the rows that came from it */
	bool remove_rows;   /* removing a file removes them */
};

/* Makes place->ingest of the route. False after a mistake, which is told. */
MUST_USE bool ingest_check(struct check *c, struct place *place);
void ingest_free(struct ingest *in);

/* The index of the field called NAME (LEN bytes), or -1. */
int ingest_field(const struct ingest *in, const char *name, size_t len);

/* "COPY table (key, fields...) FROM STDIN"; malloc'd. */
char *ingest_copy_sql(const struct ingest *in, const int *fields, int n);

/* INSERT of lines that are JSON objects with the N keys NAMES. Parameters: the lines as one JSON array, the ids as one JSON array of
 * numbers. malloc'd. */
char *ingest_insert_sql(const struct ingest *in, const char *const *names, int n);

/* Draws ids: parameter how many. One row: the ids with commas between them; NULL: the key has no sequence of its own. malloc'd. */
char *ingest_ids_sql(const struct ingest *in);

/* Deletes the rows that came from a file: parameter its id. The one with the id $1. malloc'd. */
char *ingest_delete_sql(const struct ingest *in);
char *ingest_delete_one_sql(const struct ingest *in);

#endif
