/* Rows files: a slice of a table as lines. Read page by page with a keyset cursor, so that memory does not grow with the
 * table; followed, so that a reader at the end sees what was appended. */
#include "fs/rows.h"

#include "fs/kind.h"
#include "fs/lookup.h"
#include "fs/plain.h"
#include "fs/store.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

/* -- reading ----------------------------------------------------------------------------------- */

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

static int rows_read(struct call *call, struct handle *h, size_t size, uint64_t offset,
		     struct buf *out) {
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

/* -- writing ----------------------------------------------------------------------------------- */

static uint64_t header_length(const struct handle *h) {
	const char *header = h->node->place->sql.header;
	return header != NULL ? strlen(header) : 0;
}

static int rows_open(struct call *call, struct handle *h) {
	bool writes = (h->flags & O_ACCMODE) != O_RDONLY;
	if (!writes || (h->flags & O_TRUNC) == 0 || h->created)
		return 0;
	struct stat st;
	int rc = lookup_refresh(call, h->node, true);
	if (rc != 0)
		return rc;
	node_stat(call->fs->nodes, h->node, &st);
	if ((uint64_t)st.st_size <= header_length(h))
		return 0; /* nothing to replace: the lines are simply appended */
	if (h->node->place->route->refuse_truncate)
		return call_error(call, EPERM,
				  "the layout refuses to write this file anew: append to it");
	h->replacing = h->truncated = h->dirty = true;
	return 0;
}

/* A sequential writer's offset: the end of the file as it was, then the end of what it wrote. */
static int check_offset(struct call *call, struct handle *h, uint64_t offset) {
	struct stat st;
	if ((h->flags & O_APPEND) != 0 || (h->has_begun && offset == h->next_offset))
		return 0;
	if (!h->has_begun) {
		node_stat(call->fs->nodes, h->node, &st);
		bool empty = h->replacing || h->created || (uint64_t)st.st_size <= header_length(h);
		if ((empty && offset == 0) || offset == (uint64_t)st.st_size)
			return 0;
	}
	return call_error(
		call, EINVAL,
		"a rows file takes appended lines, or is written anew from its start; bytes in its middle "
		"cannot be overwritten");
}

static void settle(struct call *call, struct handle *h, bool unsettled) {
	if (h->unsettled == unsettled)
		return;
	h->unsettled = unsettled;
	nodes_unsettle(call->fs->nodes, unsettled);
}

static uint64_t count_newlines(const char *data, size_t size) {
	uint64_t n = 0;
	const char *end = data + size;
	while ((data = memchr(data, '\n', (size_t)(end - data))) != NULL) {
		n++;
		data++;
	}
	return n;
}

static int rows_write(struct call *call, struct handle *h, const char *data, size_t size,
		      uint64_t offset) {
	int rc = check_offset(call, h, offset);
	if (rc != 0)
		return rc;
	if (h->refused != 0)
		return call_error(call, -h->refused, "an earlier write to this file was refused");
	if (h->data.len + size > call->fs->opt->max_document) {
		h->refused = -EFBIG; /* half of it must not be committed at close */
		h->dirty = true;
		return call_error(call, EFBIG, "%s larger than max_document (%llu bytes)",
				  h->replacing ? "what replaces the rows would be" : "a line is",
				  (unsigned long long)call->fs->opt->max_document);
	}
	if (!h->has_begun && (h->flags & O_APPEND) == 0)
		h->next_offset = offset;
	h->has_begun = true;
	h->next_offset += size;
	buf_add(&h->data, data, size);
	h->dirty = true;
	h->truncated = false;
	if (h->data.failed)
		return h->refused = -ENOMEM;
	settle(call, h, false);
	h->buffered_lines += count_newlines(data, size);
	if (h->replacing || h->buffered_lines < (uint64_t)call->fs->opt->batch_size)
		return 0;
	/* A refused line among them is told at the next fsync or close: the bytes of this write were taken. */
	h->buffered_lines = 0;
	AUTO_WHERE struct where w = { 0 };
	rc = node_where(call->fs->nodes, h->node, &w);
	if (rc == 0)
		rc = rows_commit(call, h, &w, false);
	if (rc != 0 && h->deferred == 0)
		h->deferred = rc;
	return 0;
}

static int rows_truncate(struct call *call, struct handle *h, uint64_t size) {
	struct stat st;
	node_stat(call->fs->nodes, h->node, &st);
	if (size != 0 && size == (uint64_t)st.st_size)
		return 0;
	if (size != 0)
		return call_error(call, EINVAL, "a rows file can only be truncated to nothing");
	if (h->node->place->route->refuse_truncate)
		return call_error(call, EPERM, "the layout refuses to empty this file");
	buf_resize(&h->data, 0);
	h->replacing = h->truncated = h->dirty = true;
	h->has_begun = false;
	return 0;
}

/* After a write that was refused: what replaces the rows is dropped whole; of what is appended, the whole lines are committed, as they
 * were taken, and the rest is not. It is kept in rejected/. */
static int give_up(struct call *call, struct handle *h, const struct where *w) {
	int rc = h->refused;
	if (!h->replacing && rows_commit(call, h, w, false) != 0)
		db_error_clear(&call->err);
	(void)call_error(
		call, -rc,
		"a write was refused before: what follows the last whole line is not committed");
	store_rejected(call, w, 0, h->data.data != NULL ? h->data.data : "", h->data.len, rc);
	buf_free(&h->data);
	h->dirty = h->truncated = h->replacing = false;
	h->refused = 0;
	settle(call, h, false);
	return rc;
}

static int rows_sync(struct call *call, struct handle *h, enum sync_reason reason) {
	AUTO_WHERE struct where w = { 0 };
	int rc = node_where(call->fs->nodes, h->node, &w);
	if (rc != 0)
		return rc;
	if (h->refused != 0)
		return give_up(call, h, &w);
	bool tail = h->data.len > 0 && h->data.data[h->data.len - 1] != '\n';
	bool last = reason == SYNC_RELEASE || !tail || rows_tail_is_whole(h, w.place);
	if (reason == SYNC_FLUSH && h->dirty && (h->truncated || (h->replacing && !last))) {
		settle(call, h, true); /* see handle.h */
		return 0;
	}
	if (h->dirty) {
		rc = h->replacing ? rows_replace(call, h, &w) : rows_commit(call, h, &w, last);
		h->replacing = h->truncated = false;
		h->dirty = h->data.len > 0;
		h->buffered_lines = 0;
	}
	if (rc == 0)
		rc = h->deferred;
	h->deferred = 0;
	settle(call, h, reason == SYNC_FLUSH && h->dirty);
	return rc;
}

static int rows_remove(struct call *call, const struct where *w) {
	int changed;
	if (w->place->route->refuse_remove)
		return call_error(call, EPERM, "the layout refuses to remove this file");
	int rc = store_run(call, (struct db_statement *)(uintptr_t)&w->place->sql.remove, w, NULL,
			   0, DB_REPEATABLE, &changed);
	if (rc == -ENOENT && strcmp(call->err.sqlstate, "23503") == 0)
		return call_error(call, ENOTEMPTY,
				  "rows of another table refer to these rows: remove them first");
	if (rc == 0)
		plain_unmark_one(call->fs->plain, w->path);
	return rc;
}

static int rows_store(struct call *call, const struct where *w, const char *data, size_t len) {
	struct handle h = { .flags = O_WRONLY | O_TRUNC };
	if (w->place->route->refuse_truncate)
		return call_error(call, EPERM,
				  "the layout refuses to write this file anew: append to it");
	buf_add(&h.data, data, len);
	int rc = h.data.failed ? -ENOMEM : rows_replace(call, &h, w);
	buf_free(&h.data);
	free(h.columns);
	return rc;
}

const struct kind rows_kind = {
	.name = "rows",
	.writable = true,
	.open = rows_open,
	.read = rows_read,
	.write = rows_write,
	.truncate = rows_truncate,
	.sync = rows_sync,
	.remove = rows_remove,
	.store = rows_store,
};
