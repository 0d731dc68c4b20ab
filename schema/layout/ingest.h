/* Ingest files, as far as the layout and the catalog go: which table their lines become rows of,
 * and what the fields are called there. Immutable once built. */
#pragma once

#include "schema/layout/place.h"

struct check;

/* A name that a header or a JSON object of the file may have. */
struct ingest_field {
	const struct column *column;
	char *factor; /* what a number is multiplied with (SQL numeric), or NULL */
};

struct ingest {
	const struct tree *tree; /* that its place belongs to */
	const struct relation *rel;
	const struct column *key;      /* an integer that is drawn from a sequence */
	const struct column *overflow; /* jsonb for keys that no field takes, or NULL */
	struct ingest_field *fields;
	struct column *names; /* of the fields, for line_is_header(): their name is the file's */
	const struct column **header; /* the same as pointers */
	int nfields;
	int *plain; /* the fields of a line where no header was */
	int nplain;
	char *dir; /* the directory that its files are in */
	const struct format *format;
	/* all of its files are compressed; else those whose names end in .gz: ingest_is_gzip() */
	bool gzip;
	bool by_copy;   /* its lines go by COPY: no field is converted, and the table takes COPY */
	bool has_proof; /* rowfs.file_rows keeps which transactions brought the rows */
	/* rowfs.file.relation of its files: who has rights on that table may use them. NULL: the
	 * database does not say it yet. Borrowed. */
	const char *of_table;
};

/* Makes place->ingest of the route. False after a mistake, which is told. */
MUST_USE bool ingest_check(struct check *c, struct place *place);

/* True if the file NAME of IN's is compressed. */
bool ingest_is_gzip(const struct ingest *in, const char *name);
/* True if the same text means the same rows in files of A and of B. */
bool ingest_same_rows(const struct ingest *a, const struct ingest *b);

/* The index of the field called NAME (LEN bytes), or -1. */
int ingest_field(const struct ingest *in, const char *name, size_t len);
