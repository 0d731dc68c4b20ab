/* Which row each line of a file that is written anew gets, where the lines do not say it by
 * a key.
 *
 * Equal lines keep their rows, as in a diff. What is left between two of them is paired in
 * order, so that a changed line changes its row. Where a column that the lines do not show
 * decides the order (see enum pairing_order), the lines must read back as they were written,
 * and a new row can only stand behind the old ones. So the first lines get the old rows, in
 * the order of the rows; lines that are equal keep theirs as far as that allows.
 *
 * Pure; thread-safe. */
#pragma once

#include "schema/statements/sql.h"

struct pairing {
	enum pairing_order order;
	bool equal_only; /* other lines get no row */
	int nrows, nlines;
	const int *rows, *lines; /* what each is; equal numbers: equal lines */
	/* PAIRING_TIES: lines with one number stand side by side, and so do rows; among
	 * these the rank decides */
	const int *row_ties, *line_ties, *ranks;
	/* How much a row and a line have in common that are not equal; NULL: it does not matter */
	size_t (*likeness)(void *arg, int row, int line);
	void *arg;
	int *row_of; /* the answer, for each line: its row, or -1 */
};

/* Fills P->row_of. A row has at most one line. Returns 0 or -ENOMEM. */
MUST_USE int pairing_make(const struct pairing *p);
