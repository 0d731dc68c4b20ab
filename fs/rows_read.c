/* Reading rows files: page by page with a keyset cursor, so that memory does not grow with the table; followed, so that a
 * reader at the end sees what was appended. */
#include "fs/rows_read.h"

#include <errno.h>
#include <string.h>

/* Where a page begins, and the cursor that fetches it. */
struct checkpoint {
	uint64_t offset;
	char **cursor; /* NULL for the first page */
};

struct rows_reader {
	int ncursor;
	struct checkpoint *points; /* of every page fetched so far, in order */
	size_t npoints;
	struct buf page;
	uint64_t page_offset;   /* of the page's first byte */
	struct checkpoint next; /* of the page behind it */
};

static void cursor_free(char **cursor, int n) {
	for (int i = 0; cursor != NULL && i < n; i++)
		free(cursor[i]);
	free(cursor);
}

static char **cursor_copy(char *const *cursor, int n) {
	if (cursor == NULL)
		return NULL;
	char **copy = calloc((size_t)n, sizeof(*copy));
	for (int i = 0; copy != NULL && i < n; i++)
		if (cursor[i] != NULL)
			copy[i] = strdup(cursor[i]);
	return copy;
}

void rows_reader_free(struct rows_reader *r) {
	if (r == NULL)
		return;
	for (size_t i = 0; i < r->npoints; i++)
		cursor_free(r->points[i].cursor, r->ncursor);
	cursor_free(r->next.cursor, r->ncursor);
	free(r->points);
	buf_free(&r->page);
	free(r);
}

static bool remember(struct rows_reader *r) {
	if (r->npoints > 0 && r->points[r->npoints - 1].offset >= r->next.offset)
		return true;
	struct checkpoint *points = reallocarray(r->points, r->npoints + 1, sizeof(*points));
	if (points == NULL)
		return false;
	r->points = points;
	points[r->npoints++] = (struct checkpoint){
		.offset = r->next.offset,
		.cursor = cursor_copy(r->next.cursor, r->ncursor),
	};
	return true;
}

/* Sets the reader to the last page that begins at or before OFFSET. */
static void rewind_to(struct rows_reader *r, uint64_t offset) {
	size_t i = r->npoints;
	while (i > 1 && r->points[i - 1].offset > offset)
		i--;
	cursor_free(r->next.cursor, r->ncursor);
	r->next.offset = r->points[i - 1].offset;
	r->next.cursor = cursor_copy(r->points[i - 1].cursor, r->ncursor);
	r->page_offset = r->next.offset;
	buf_resize(&r->page, 0);
}

/* Takes the page in RES: text, number of lines, cursor. */
static bool take_page(struct rows_reader *r, const PGresult *res) {
	char **cursor = calloc((size_t)r->ncursor, sizeof(*cursor));
	if (cursor == NULL)
		return false;
	for (int i = 0; i < r->ncursor; i++)
		if (!PQgetisnull(res, 0, 2 + i))
			cursor[i] = strdup(PQgetvalue(res, 0, 2 + i));
	buf_resize(&r->page, 0);
	buf_add(&r->page, PQgetvalue(res, 0, 0), (size_t)PQgetlength(res, 0, 0));
	r->page_offset = r->next.offset;
	cursor_free(r->next.cursor, r->ncursor);
	r->next.cursor = cursor;
	r->next.offset = r->page_offset + r->page.len;
	return !r->page.failed;
}

/* Fetches the next page. *MORE is false if there is none (yet). */
static int fetch(struct call *call, struct handle *h, const struct where *w, bool *more) {
	struct rows_reader *r = h->reader;
	struct place_sql *sql = (struct place_sql *)(uintptr_t)&w->place->sql;
	struct db_param params[WHERE_PARAMS];
	AUTO_RESULT PGresult *res = NULL;
	char limit[16];
	int n = where_params(w, params);
	for (int i = 0; r->next.cursor != NULL && i < r->ncursor; i++)
		params[n++] = db_text(r->next.cursor[i]);
	snprintf(limit, sizeof(limit), "%d", call->fs->opt->fetch_size);
	params[n++] = db_text(limit);
	int rc = db_query(call->fs->pool,
			  r->next.cursor != NULL ? &sql->page_next : &sql->page_first, params, n,
			  DB_REPEATABLE, call_cancel(call), &res, &call->err);
	if (rc != 0)
		return rc;
	*more = !PQgetisnull(res, 0, 0);
	return !*more || (remember(r) && take_page(r, res)) ? 0 : -ENOMEM;
}

static int start_reader(const struct where *w, struct handle *h) {
	if (h->reader != NULL)
		return 0;
	h->reader = calloc(1, sizeof(*h->reader));
	if (h->reader == NULL)
		return -ENOMEM;
	h->reader->ncursor = w->place->sql.cursor;
	h->reader->next.offset = w->place->sql.header != NULL ? strlen(w->place->sql.header) : 0;
	h->reader->page_offset = h->reader->next.offset;
	return 0;
}

/* Appends to OUT what stands between *OFFSET and END of the LEN bytes DATA that begin at FROM. */
static void copy_overlap(struct buf *out, const char *data, uint64_t from, size_t len,
			 uint64_t *offset, uint64_t end) {
	if (*offset < from || *offset >= from + len || *offset >= end)
		return;
	uint64_t n = (end < from + len ? end : from + len) - *offset;
	buf_add(out, data + (*offset - from), (size_t)n);
	*offset += n;
}

int rows_read(struct call *call, struct handle *h, size_t size, uint64_t offset, struct buf *out) {
	AUTO_WHERE struct where w = { 0 };
	uint64_t end = offset + size;
	bool more = true;
	int rc = node_where(call->fs->nodes, h->node, &w);
	if (rc == 0)
		rc = start_reader(&w, h);
	if (rc != 0)
		return rc;
	struct rows_reader *r = h->reader;
	if (w.place->sql.header != NULL)
		copy_overlap(out, w.place->sql.header, 0, strlen(w.place->sql.header), &offset,
			     end);
	if (offset < r->page_offset && r->npoints > 0)
		rewind_to(r, offset);
	while (offset < end && more) {
		copy_overlap(out, r->page.data, r->page_offset, r->page.len, &offset, end);
		if (offset >= end)
			break;
		rc = fetch(call, h, &w, &more);
		if (rc != 0)
			return rc;
	}
	return out->failed ? -ENOMEM : 0;
}
