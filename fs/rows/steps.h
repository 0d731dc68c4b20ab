/* The statements of a save as one: what goes, what changes, what comes, in this order. Foreign keys
 * are checked when all is done, so rows may go while others that refer to them change. One thread
 * at a time. */
#pragma once

#include "fs/core/call.h"
#include "fs/inodes/where.h"

struct step {
	char *sql;              /* owned */
	const struct buf *text; /* its parameter behind the path's keys; borrowed */
	int changed;            /* rows that it has changed */
};

struct steps {
	const struct where *w; /* borrowed */
	struct step *all;
	int n;
};

void steps_free(struct steps *steps);

/* PLACE as the next step's SQL must be made for. */
struct place steps_place(const struct steps *steps, const struct place *place);

/* Adds SQL without RETURNING, which is taken over (NULL: there was no memory for it), and its text,
 * which is borrowed until steps_run(). Returns 0 or -ENOMEM. */
MUST_USE int steps_add(struct steps *steps, char *sql, const struct buf *text);

/* Runs them in the transaction on CONN. Returns 0, or -errno with ERR filled. */
MUST_USE int steps_run(struct db_conn *conn, struct steps *steps, struct db_error *err);
