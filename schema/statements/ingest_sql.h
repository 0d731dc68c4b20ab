/* The SQL of ingest files: what puts rows in, and what tells which rows are a file's. */
#pragma once

#include "schema/layout/ingest.h"

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
