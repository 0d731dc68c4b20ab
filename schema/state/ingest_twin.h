/* Two ingest files of one directory, X and X.gz, with the same text: their lines are rows once. One
 * of them, the *owner*, has the rows; the other one *follows* it. The follower's state says so:
 * `twin` is the owner's id, and `whole`, if both texts are equal, the owner's last change when they
 * were. The owner's state says `took`, the follower's id, until the owner is changed again.
 * Thread-safe. */
#pragma once

#include "schema/state/ingest_file.h"

/* The name of the other file: with ".gz", or without it. malloc'd. */
char *ingest_twin_name(const char *name);

/* Finds the file that ME may follow: NAME in directory DIR, or with DIR NULL the file ID.
 * *HAS_ROWS: it has rows, or gets them back if ME, whose last change is MY_OP, is written anew.
 * Returns 0, -ENOENT or -errno. */
MUST_USE int ingest_twin_find(struct db_pool *pool, const char *dir, const char *name, int64_t id,
			      const struct ingest_record *me, struct ingest_record *out,
			      bool *has_rows, struct db_error *err);

/* -- inside a transaction; ME is locked -------------------------------------------------------- */

/* The rows of file FROM, which is locked, are ME's: the texts are equal, and ME's change is OP. */
MUST_USE int ingest_twin_take(struct db_conn *conn, int64_t from, int64_t me, const char *op,
			      struct db_error *err);
/* ME is to be removed, or written anew: if another file follows it with the same text, that one has
 * the rows again. */
MUST_USE int ingest_twin_give_back(struct db_conn *conn, int64_t me, struct db_error *err);
