/* Ingest files, as far as the layout and the catalog go: which table their lines become rows of,
 * what the fields are called there, and the SQL that puts them in. Immutable once built. */
#ifndef ROWFS_SCHEMA_INGEST_H
#define ROWFS_SCHEMA_INGEST_H

#include "schema/check.h"

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
	/* all of its files are compressed; else those whose names end in .gz: ingest_is_gzip() */
	bool gzip;
	bool by_copy; /* CSV lines go by COPY: no field is converted, and the table takes COPY */
	bool keep_replaced; /* replacing a file keeps the rows that came from it */
	bool remove_rows;   /* removing a file removes them */
	bool has_proof;     /* rowfs.file_rows keeps which transactions brought the rows */
	/* rowfs.file.relation of its files: who has rights on that table may use them. NULL: the
	 * database does not say it yet. Borrowed. */
	const char *of_table;
};

/* Makes place->ingest of the route. False after a mistake, which is told. */
MUST_USE bool ingest_check(struct check *c, struct place *place);
void ingest_free(struct ingest *in);

/* True if the file NAME of IN's is compressed. */
bool ingest_is_gzip(const struct ingest *in, const char *name);
/* True if the same text means the same rows in files of A and of B. */
bool ingest_same_rows(const struct ingest *a, const struct ingest *b);

/* The index of the field called NAME (LEN bytes), or -1. */
int ingest_field(const struct ingest *in, const char *name, size_t len);

/* "COPY table (key, fields...) FROM STDIN"; malloc'd. */
char *ingest_copy_sql(const struct ingest *in, const int *fields, int n);

/* INSERT of lines that are JSON objects with the N keys NAMES. Parameters: the lines as one JSON
 * array, the ids as one JSON array of numbers. malloc'd. */
char *ingest_insert_sql(const struct ingest *in, const char *const *names, int n);

/* Draws ids: parameter how many. One row: the ids with commas between them; NULL: the key has no
 * sequence of its own. malloc'd. */
char *ingest_ids_sql(const struct ingest *in);

/* -- which rows are a file's: see ingest_rows.h. All malloc'd, NULL if out of memory -------- */

/* The expression for rowfs.file_rows.xids: the transactions that brought the rows with the ids of
 * parameter PARAM, an int8multirange. PARTS: they may have come in parts of the transaction, which
 * have numbers of their own. "": the database does not keep them. */
char *ingest_xids_sql(const struct ingest *in, bool parts, int param);

/* Deletes the rows that came from a file and show it: parameters its id, and FRESH, the ids (an
 * int8multirange or NULL) of rows that this transaction has inserted. The one of them with the id
 * $2. Only with in->has_proof. */
char *ingest_delete_sql(const struct ingest *in);
char *ingest_delete_one_sql(const struct ingest *in);

/* The ids that the file's rows had, and that rows still have: parameters the file, one id or NULL
 * for all, FRESH as above, and how many at most. */
char *ingest_unclear_sql(const struct ingest *in);
/* The hashes, with commas between them, of what lines say that are JSON objects with the N keys
 * NAMES: parameter the lines as one JSON array. And the deletion of the rows above that say the
 * same: parameters the file, one id or NULL, FRESH, the hashes as a bigint[]. */
char *ingest_hash_sql(const struct ingest *in, const char *const *names, int n);
char *ingest_delete_alike_sql(const struct ingest *in, const char *const *names, int n);
/* How many these are, with the same parameters; with NAMES NULL, how many rows there are with ids
 * of the file's. */
char *ingest_count_alike_sql(const struct ingest *in, const char *const *names, int n);

#endif
