/* A reader of a rows file: it stands somewhere in the file, and goes on from there. */
#pragma once

#include "fs/core/call.h"
#include "fs/inodes/node.h"
#include "util/mutex.h"

/* A reader of PLACE's file that stands at its start, and is used under OWNER. NULL if out of
 * memory. */
struct rows_reader *rows_reader_new(const struct place *place, struct mutex *owner);

/* A reader of PLACE's file that stands where the lines that READER has read end, and is used under
 * OWNER. NULL if out of memory. */
struct rows_reader *rows_reader_fork(struct rows_reader *reader, const struct place *place,
				     struct mutex *owner);

/* Appends about WANT bytes of the file W, NODE, from OFFSET on to OUT: READER stands there, or has
 * read on behind. Fewer only at the end. Its owner is held. Returns 0 or -errno. */
MUST_USE int rows_reader_on(struct call *call, struct rows_reader *reader, const struct where *w,
			    const struct node *node, uint64_t offset, size_t want, struct buf *out);

/* The same for any OFFSET, with the file's header. */
MUST_USE int rows_reader_at(struct call *call, struct rows_reader *reader, const struct where *w,
			    const struct node *node, uint64_t offset, size_t want, struct buf *out);

/* Frees what a handle's reads have left. NULL is fine. */
void rows_reader_free(struct rows_reader *reader);

/* -- pages, also for a reader of its own kind (rows_rotate.c) ---------------------------------- */

/* The parameters of a statement for a page of at most LIMIT lines, and about WANT bytes, behind
 * CURSOR (NULL: the first one). Malloc'd, *N of them; they borrow from all that is given, and TEXTS
 * is their room. NULL if out of memory. */
MUST_USE struct db_param *rows_page_params(const struct where *w, char *const *cursor,
					   uint64_t limit, uint64_t want, char texts[2][24],
					   int *n);
/* The cursor of a page's row ROW, as many texts as PLACE's cursor has; the first is in column AT.
 * NULL if out of memory. */
MUST_USE char **rows_page_cursor(const struct place *place, const PGresult *page, int row, int at);
/* CURSOR may be NULL. */
void rows_cursor_free(char **cursor, int n);
