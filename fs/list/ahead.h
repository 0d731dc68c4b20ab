/* The next page of a listing, asked for while the kernel takes the present one: by a thread of its
 * own, which lives for one page. */
#pragma once

#include "fs/core/fs.h"
#include "fs/inodes/where.h"

/* A page of the names of PLACE in a directory. */
struct page_query {
	struct where dir; /* owned */
	const struct place *place;
	char **cursor; /* keys, NULL-terminated; NULL: the first page; owned */
	bool bare;     /* names alone */
	int limit;     /* rows at most */
};

void page_query_free(struct page_query *q);
/* Runs it. Returns 0 with *RES the caller's, or -errno with ERR saying why. */
MUST_USE int page_query_run(struct fs *fs, const struct page_query *q, struct db_cancel *cancel,
			    PGresult **res, struct db_error *err);

/* Begins to ask for Q, whose contents become the call's own. NULL if it cannot. */
struct ahead *ahead_start(struct fs *fs, struct page_query *q);
/* Waits for the page if it is what Q asks for, and frees AHEAD. True: *RES is it, and *TICKET what
 * coherence_ticket() was before; false: it is another page, or failed. */
bool ahead_take(struct ahead *ahead, const struct page_query *q, PGresult **res,
		unsigned long *ticket);
/* Stops the query and frees. NULL is fine. */
void ahead_free(struct ahead *ahead);
