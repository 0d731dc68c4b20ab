/* The insert of lines that have the same columns, as one statement. */
#pragma once

#include "fs/rows/rows_lines.h"

struct insert {
	char *sql; /* owned */
	/* how many lines do not contradict the path; NULL: as many as rows are affected.
	 * Owned */
	char *count;
	struct buf json; /* the array; owned */
	int lines;
};

/* Makes OUT the insert of N lines of GROUP, the numbers WHICH. Lines that leave out an id that
 * rowfs gives get one. Returns 0, -ENOMEM, or -EINVAL if no column gets a value. OUT is to be freed
 * in any case. */
MUST_USE int insert_make(const struct place *place, const struct line_group *group,
			 const int *which, int n, struct insert *out);

/* Says in ERR that a line contradicts its path, as the server would refuse it. Returns -EINVAL. */
int rows_contradict(struct db_error *err);

/* Runs INSERT in the transaction on CONN. Lines that contradict the path are refused with an
 * SQLSTATE, as the server refuses them. Returns 0 or -errno. */
MUST_USE int insert_run(struct db_conn *conn, const struct input *in, const struct insert *insert,
			struct db_error *err);
void insert_free(struct insert *insert);
