/* A trail says where the entries of a listing stood. So an offset means the same entry for every
 * handle of the directory, whenever it comes back: by seekdir(3), or by the kernel's cache of a
 * listing, which goes on with a handle that did not begin it.
 *
 * An offset is a listing's number and a position in it. A trail remembers where each page of the
 * listing began, and four bytes of each name. A reader that comes back fetches the page anew and
 * looks for the entry before the offset. If that has gone, the reader goes on behind the nearest
 * entry that is left. The last trails are kept. Thread-safe; a trail grows by one handle. */
#pragma once

#include "util/cleanup.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { KNOWN_NAMES = -1 };

/* The start of a page. */
struct page_start {
	uint64_t position; /* of its first entry */
	/* which of the directory's places it lists; KNOWN_NAMES for what is not in the database */
	int child;
	/* keys of the entry before it, NULL-terminated; NULL for the child's first page */
	char **cursor;
};

char **cursor_copy(char *const *cursor);
void cursor_free(char **cursor);

struct trails;

/* A new trail of the directory with identity INO, empty; to be given back. NULL if out of memory.
 */
MUST_USE struct trail *trail_new(struct trails *trails, uint64_t ino);
void trail_release(struct trail *trail);

/* The entries that follow begin a page. CURSOR is copied. */
void trail_add_page(struct trail *trail, int child, char *const *cursor);
/* N entries more. NAME gives the name of one. */
void trail_add(struct trail *trail, size_t n, const char *(*name)(void *, size_t), void *arg);
/* The offset of POSITION. */
uint64_t trail_offset(const struct trail *trail, uint64_t position);
uint64_t trail_position(uint64_t offset);
bool trail_has(const struct trail *trail, uint64_t offset);

/* A new trail that goes as another one of INO did up to OFFSET. *START is the page that the offset
 * is in; its cursor is the caller's. NULL if the offset's trail is not known any more (or out of
 * memory). */
MUST_USE struct trail *trail_fork(struct trails *trails, uint64_t ino, uint64_t offset,
				  struct page_start *start);
/* How many of the N names of a page fetched anew stand before POSITION, of a trail that ends there,
 * in a page that began at START. NAME gives the name of a row. *SURE is false if the entry before
 * POSITION is not among them. */
size_t trail_find(struct trail *trail, uint64_t start, size_t n,
		  const char *(*name)(void *, size_t), void *arg, bool *sure);
