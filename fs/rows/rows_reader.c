/* Reading rows files. A reader has a *head*: a place between two lines, as an offset and as the
 * cursor that fetches what follows. Lines are fetched at the head, into a window that the answers
 * are cut from; so who reads on and on sees each line once and whole, whatever becomes of the lines
 * behind him. The first lines come as pages, with a limit; who goes on reading gets a flow (COPY).
 *
 * A jump sets the head to the nearest place that is known: the start, the end (walked back to from
 * the size that the same statement found), or one of the places remembered on the way; and from
 * there lines are passed over. */
#include "fs/rows/rows_reader.h"

#include "db/field.h"
#include "fs/rows/rows_flow.h"
#include "util/list.h"
#include "util/mutex.h"

#include <errno.h>
#include <string.h>

enum {
	WANT_BYTES = 256 << 10,   /* of a page, bytes: it ends there, however long its lines are */
	WINDOW_BYTES = 512 << 10, /* of the window */
	BEHIND_BYTES = 128 << 10, /* of it kept behind the last answer: reads come out of order */
	NEAR_BYTES =
		1 << 20, /* what is fetched from the end at once; what is read rather than jumped */
	PLACES_MOST = 1024, /* that a reader remembers */
	SHORT_LINE = 48, /* bytes; pages from the end have lines enough if they are not shorter */
	FEW_LINES = 64,
};

/* A place between two lines. */
struct place_in_file {
	uint64_t offset;
	char **cursor; /* of the line before it; NULL: the first line is next; owned */
};

struct rows_reader {
	struct mutex *owner; /* the handle's lock, which guards all this */
	int ncursor;
	uint64_t start;              /* of the first line: the header's length */
	struct place_in_file *known; /* by offset; known[0] is the start */
	size_t nknown;
	uint64_t spacing;  /* between two of them, bytes */
	struct buf window; /* bytes that end at the head */
	struct place_in_file head;
	struct place_in_file back; /* where the window of the last jump to the end begins */
	/* the head's cursor as the flow wrote it; not empty: it overrides head.cursor */
	struct buf raw;
	struct rows_flow
		*flow; /* fetches at the head; NULL at any time while the handle is not locked */
	bool going_on; /* a full page was read: a flow is worth its while */
};

void rows_cursor_free(char **cursor, int n) {
	for (int i = 0; cursor != NULL && i < n; i++)
		free(cursor[i]);
	free(cursor);
}

static char **cursor_copy(char *const *cursor, int n) {
	if (cursor == NULL)
		return NULL;
	char **copy = calloc((size_t)n, sizeof(*copy));
	bool ok = copy != NULL;
	for (int i = 0; ok && i < n; i++)
		ok = cursor[i] == NULL || (copy[i] = strdup(cursor[i])) != NULL;
	if (ok)
		return copy;
	rows_cursor_free(copy, n);
	return NULL;
}

void rows_reader_free(struct rows_reader *r) {
	if (r == NULL)
		return;
	rows_flow_end(&r->flow);
	for (size_t i = 0; i < r->nknown; i++)
		rows_cursor_free(r->known[i].cursor, r->ncursor);
	rows_cursor_free(r->head.cursor, r->ncursor);
	rows_cursor_free(r->back.cursor, r->ncursor);
	free(r->known);
	buf_free(&r->window);
	buf_free(&r->raw);
	free(r);
}

struct rows_reader *rows_reader_new(const struct place *place, struct mutex *owner) {
	struct rows_reader *r = calloc(1, sizeof(*r));
	if (r == NULL || (r->known = calloc(1, sizeof(*r->known))) == NULL) {
		free(r);
		return NULL;
	}
	r->owner = owner;
	r->ncursor = place->sql.cursor;
	r->start = place->sql.header != NULL ? strlen(place->sql.header) : 0;
	r->head.offset = r->known[0].offset = r->start;
	r->nknown = 1;
	r->spacing = WANT_BYTES;
	return r;
}

/* -- the head ---------------------------------------------------------------------------------- */

/* Makes head.cursor what it is after the last line of the flow. */
static int settle_cursor(struct rows_reader *r, const struct place *place) {
	if (r->raw.len == 0)
		return 0;
	char **cursor = calloc((size_t)r->ncursor, sizeof(*cursor));
	int rc =
		cursor != NULL ? rows_flow_cursor(place, r->raw.data, r->raw.len, cursor) : -ENOMEM;
	if (rc != 0) {
		rows_cursor_free(cursor, r->ncursor);
		return rc;
	}
	rows_cursor_free(r->head.cursor, r->ncursor);
	r->head.cursor = cursor;
	buf_resize(&r->raw, 0);
	return 0;
}

/* Index of the last known place at or before OFFSET. */
static size_t known_before(const struct rows_reader *r, uint64_t offset) {
	size_t low = 0, high = r->nknown;
	while (high - low > 1) {
		size_t middle = (low + high) / 2;
		if (r->known[middle].offset <= offset)
			low = middle;
		else
			high = middle;
	}
	return low;
}

/* Every other place is forgotten, and from now on they are twice as far apart. */
static void thin(struct rows_reader *r) {
	size_t kept = 1;
	for (size_t i = 1; i < r->nknown; i++)
		if (i % 2 == 0)
			r->known[kept++] = r->known[i];
		else
			rows_cursor_free(r->known[i].cursor, r->ncursor);
	r->nknown = kept;
	r->spacing *= 2;
}

static bool far_from_known(const struct rows_reader *r, uint64_t offset) {
	size_t i = known_before(r, offset);
	return offset >= r->known[i].offset + r->spacing &&
	       (i + 1 == r->nknown || r->known[i + 1].offset >= offset + r->spacing);
}

/* Remembers OFFSET, CURSOR (copied), unless a place near it is known. */
static int remember(struct rows_reader *r, uint64_t offset, char *const *cursor) {
	if (cursor == NULL || !far_from_known(r, offset))
		return 0;
	if (r->nknown == PLACES_MOST)
		thin(r);
	else if (!list_room(r->known, r->nknown))
		return -ENOMEM;
	char **copy = cursor_copy(cursor, r->ncursor);
	if (copy == NULL)
		return -ENOMEM;
	size_t at = known_before(r, offset) + 1;
	memmove(&r->known[at + 1], &r->known[at], (r->nknown - at) * sizeof(*r->known));
	r->known[at] = (struct place_in_file){ .offset = offset, .cursor = copy };
	r->nknown++;
	return 0;
}

/* Remembers the head, if it is time to. */
static int note_head(struct rows_reader *r, const struct place *place) {
	if (!far_from_known(r, r->head.offset))
		return 0;
	int rc = settle_cursor(r, place);
	return rc == 0 ? remember(r, r->head.offset, r->head.cursor) : rc;
}

/* Sets the head, with an empty window. CURSOR is taken over. */
static void set_head(struct rows_reader *r, uint64_t offset, char **cursor) {
	rows_flow_end(&r->flow);
	rows_cursor_free(r->head.cursor, r->ncursor);
	r->head = (struct place_in_file){ .offset = offset, .cursor = cursor };
	buf_resize(&r->window, 0);
	buf_resize(&r->raw, 0);
}

static int head_to_known(struct rows_reader *r, size_t i) {
	char **cursor = cursor_copy(r->known[i].cursor, r->ncursor);
	if (cursor == NULL && r->known[i].cursor != NULL)
		return -ENOMEM;
	set_head(r, r->known[i].offset, cursor);
	r->going_on = false;
	return 0;
}

/* -- pages ------------------------------------------------------------------------------------- */

struct db_param *rows_page_params(const struct where *w, char *const *cursor, uint64_t limit,
				  uint64_t want, char texts[2][24], int *n) {
	int ncursor = cursor != NULL ? w->place->sql.cursor : 0;
	struct db_param *params =
		calloc((size_t)(w->place->nparams + ncursor) + 2, sizeof(*params));
	if (params == NULL)
		return NULL;
	*n = where_params(w, params);
	for (int i = 0; i < ncursor; i++)
		params[(*n)++] = db_text(cursor[i]);
	params[(*n)++] = db_number(texts[0], (int64_t)limit);
	params[(*n)++] = db_number(texts[1], (int64_t)want);
	return params;
}

/* A page, of the FORM that field_judge() knows. */
static int fetch(struct call *call, const struct where *w, struct db_statement *st,
		 char *const *cursor, uint64_t limit, uint64_t want, const char *form,
		 PGresult **out) {
	char texts[2][24];
	int n;
	AUTO_FREE struct db_param *params = rows_page_params(w, cursor, limit, want, texts, &n);
	if (params == NULL)
		return -ENOMEM;
	int rc = db_query(call->fs->pool, st, params, n, DB_REPEATABLE, call_cancel(call), out,
			  &call->err);
	return rc == 0 ? field_judge(*out, ROWS_ANY, form, &call->err) : rc;
}

char **rows_page_cursor(const struct place *place, const PGresult *page, int row, int at) {
	int n = place->sql.cursor;
	char **cursor = calloc((size_t)n, sizeof(*cursor));
	bool ok = cursor != NULL;
	for (int i = 0; ok && i < n; i++)
		if (!field_is_null(page, row, at + i))
			ok = (cursor[i] = strdup(field_text(page, row, at + i))) != NULL;
	if (ok)
		return cursor;
	rows_cursor_free(cursor, n);
	return NULL;
}

/* The page behind the head. *MORE is false if it is the last. */
static int next_page(struct call *call, struct rows_reader *r, const struct where *w, bool *more) {
	struct place_sql *sql = (struct place_sql *)(uintptr_t)&w->place->sql;
	AUTO_RESULT PGresult *res = NULL;
	uint64_t limit = (uint64_t)call->fs->opt->fetch_size, bytes = 0;
	int rc = settle_cursor(r, w->place);
	if (rc == 0)
		rc = fetch(call, w, r->head.cursor != NULL ? &sql->page_next : &sql->page_first,
			   r->head.cursor, limit, WANT_BYTES, "t?t*", &res);
	int n = rc == 0 ? PQntuples(res) : 0;
	*more = (uint64_t)n == limit;
	if (n == 0)
		return rc;
	char **cursor = rows_page_cursor(w->place, res, n - 1, 1);
	if (cursor == NULL)
		return -ENOMEM;
	for (int i = 0; i < n; i++) {
		bytes += field_len(res, i, 0);
		*more = *more || (i + 2 == n && bytes >= WANT_BYTES);
		buf_add(&r->window, field_text(res, i, 0), field_len(res, i, 0));
	}
	rows_cursor_free(r->head.cursor, r->ncursor);
	r->head = (struct place_in_file){ .offset = r->head.offset + bytes, .cursor = cursor };
	r->going_on = *more;
	return r->window.failed ? -ENOMEM : remember(r, r->head.offset, r->head.cursor);
}

/* -- flows ------------------------------------------------------------------------------------- */

/* Begins the COPY at the head. -EAGAIN: no connection for it. */
static int begin_flow(struct call *call, struct rows_reader *r, const struct where *w) {
	int rc = settle_cursor(r, w->place);
	if (rc != 0 || r->flow != NULL)
		return rc;
	const struct place_sql *sql = &w->place->sql;
	return rows_flow_begin(call, w, r->head.cursor != NULL ? sql->copy_next : sql->copy_first,
			       r->head.cursor, r->owner, &r->flow);
}

/* Lines of the flow until the head is at UNTIL or beyond, or the window is full. *MORE is false if
 * there are no more. */
static int flow_on(struct call *call, struct rows_reader *r, const struct where *w, uint64_t until,
		   bool *more) {
	struct flow_line line;
	bool moved = false;
	int rc = 1;
	while (r->head.offset < until && r->window.len < WINDOW_BYTES) {
		rc = rows_flow_next(call, r->flow, &line);
		if (rc <= 0)
			break;
		moved = true;
		buf_add(&r->window, line.text, line.len);
		buf_resize(&r->raw, 0);
		buf_add(&r->raw, line.cursor, line.cursor_len);
		r->head.offset += line.len;
		if (r->window.failed || r->raw.failed)
			return -ENOMEM;
	}
	*more = rc != 0;
	if (rc <= 0 && rc != -EINTR)
		rows_flow_end(&r->flow);
	if (rc == 0)
		r->going_on = false;
	if (rc < 0 && !(moved && rc != -EINTR)) /* what has moved tries again from where it is */
		return rc;
	db_error_clear(&call->err);
	return note_head(r, w->place);
}

/* Moves the head on, at most to the line that holds UNTIL. *MORE is false if there is nothing
 * behind it (yet). */
static int advance(struct call *call, struct rows_reader *r, const struct where *w, uint64_t until,
		   bool *more) {
	if (r->flow == NULL && (r->going_on || until > r->head.offset + NEAR_BYTES)) {
		int rc = begin_flow(call, r, w);
		if (rc != 0 && rc != -EAGAIN)
			return rc;
	}
	return r->flow != NULL ? flow_on(call, r, w, until, more) : next_page(call, r, w, more);
}

/* -- jumps ------------------------------------------------------------------------------------- */

/* Puts the lines of a page that came last line first into the window, and what is before them into
 * `back`. The row farthest back is only the cursor of that place, unless START: then the file
 * begins with it. Column 0 is the file's size, 1 the line. */
static int take_last_page(struct rows_reader *r, const struct place *place, const PGresult *res,
			  bool start) {
	int n = PQntuples(res), first = start ? n : n - 1;
	uint64_t bytes = 0, size = (uint64_t)field_number(res, 0, 0);
	char **end = rows_page_cursor(place, res, 0, 2);
	char **before = rows_page_cursor(place, res, n - 1, 2);
	set_head(r, size, end);
	rows_cursor_free(r->back.cursor, r->ncursor);
	r->back.cursor = before;
	for (int i = first - 1; i >= 0; i--) {
		buf_add(&r->window, field_text(res, i, 1), field_len(res, i, 1));
		bytes += field_len(res, i, 1);
	}
	if (r->window.failed || end == NULL || before == NULL)
		return -ENOMEM;
	if (start) /* counted here: no other size is truer */
		r->head.offset = r->start + bytes;
	r->back.offset = r->head.offset > bytes ? r->head.offset - bytes : 0;
	return start ? 0 : remember(r, r->back.offset, before);
}

/* True if the page ends neither by LIMIT nor by WANT, but with the last line that there is. */
static bool page_is_whole(const PGresult *res, uint64_t limit, uint64_t want) {
	int n = PQntuples(res);
	uint64_t bytes = 0;
	for (int i = 0; i + 1 < n; i++)
		bytes += field_len(res, i, 1);
	return (uint64_t)n < limit && bytes < want;
}

/* Sets the head to the end of the file, the window to what stands before it: at least WANT bytes if
 * lines are not very short. */
static int jump_to_end(struct call *call, struct rows_reader *r, const struct where *w,
		       uint64_t want) {
	struct place_sql *sql = (struct place_sql *)(uintptr_t)&w->place->sql;
	AUTO_RESULT PGresult *res = NULL;
	uint64_t limit = want / SHORT_LINE + FEW_LINES;
	int rc = fetch(call, w, &sql->page_last, NULL, limit, want, "n?t?t*", &res);
	if (rc != 0)
		return rc;
	r->going_on = false;
	if (PQntuples(res) == 0 || field_is_null(res, 0, 0)) {
		set_head(r, r->start, NULL);
		return 0;
	}
	return take_last_page(r, w->place, res, page_is_whole(res, limit, want));
}

/* Sets the head to a place at or before OFFSET, passing over lines backwards from FROM, a place
 * behind it. -EAGAIN: no connection for it. */
static int walk_back(struct call *call, struct rows_reader *r, const struct where *w,
		     const struct place_in_file *from, uint64_t offset) {
	struct flow_line line;
	char **cursor = cursor_copy(from->cursor, r->ncursor);
	uint64_t at = from->offset; /* where the line read last begins */
	if (cursor == NULL)
		return -ENOMEM;
	set_head(r, at, cursor);
	int rc = rows_flow_begin(call, w, w->place->sql.copy_before, cursor, r->owner, &r->flow);
	while (rc >= 0 && r->head.offset > offset) {
		rc = rows_flow_next(call, r->flow, &line);
		if (rc <= 0)
			break;
		/* the cursor of a line fetches what is behind it */
		r->head.offset = at;
		at -= line.len < at ? line.len : at;
		buf_resize(&r->raw, 0);
		buf_add(&r->raw, line.cursor, line.cursor_len);
		rc = r->raw.failed ? -ENOMEM : note_head(r, w->place);
	}
	rows_flow_end(&r->flow);
	if (rc == 0 && r->head.offset > offset) /* nothing is before it: this is the first line */
		return head_to_known(r, 0);
	return rc < 0 ? rc : settle_cursor(r, w->place);
}

/* Goes there from behind if that is nearer: from a known place, or from the end. Returns 1 if that
 * was enough, 0, or -errno. */
static int jump_backwards(struct call *call, struct rows_reader *r, const struct where *w,
			  const struct node *node, uint64_t offset) {
	struct stat st;
	size_t i = known_before(r, offset);
	uint64_t forward = offset - r->known[i].offset;
	/* who reads backwards finds the next answers in the window */
	uint64_t target = offset > r->start + BEHIND_BYTES ? offset - BEHIND_BYTES : r->start;
	const struct place_in_file *from = &r->back;
	if (forward <= NEAR_BYTES)
		return 0;
	if (i + 1 < r->nknown) {
		from = &r->known[i + 1];
	} else {
		node_stat(call->fs->nodes, node, &st);
		uint64_t size = (uint64_t)st.st_size, behind = size > offset ? size - offset : 0;
		if (behind >= forward)
			return 0;
		int rc = jump_to_end(call, r, w,
				     behind < NEAR_BYTES ? behind + FEW_LINES : NEAR_BYTES);
		if (rc != 0 || offset >= r->head.offset - r->window.len)
			return rc != 0 ? rc : 1;
	}
	if (from->offset < offset || from->offset - offset >= forward)
		return 0;
	int rc = walk_back(call, r, w, from, target);
	return rc == -EAGAIN ? 0 : rc != 0 ? rc : 1;
}

/* Sets the head to a place from which OFFSET, which is not in the window, is reached by going
 * forward. */
static int jump(struct call *call, struct rows_reader *r, const struct where *w,
		const struct node *node, uint64_t offset) {
	if (offset >= r->head.offset && offset - r->head.offset <= NEAR_BYTES)
		return 0;
	int rc = jump_backwards(call, r, w, node, offset);
	if (rc != 0)
		return rc < 0 ? rc : 0;
	size_t i = known_before(r, offset);
	if (offset >= r->head.offset && r->head.offset >= r->known[i].offset)
		return 0;
	return head_to_known(r, i);
}

/* -- reading ----------------------------------------------------------------------------------- */

/* Appends to OUT what stands between *OFFSET and END of the LEN bytes DATA that begin at FROM. */
static void copy_overlap(struct buf *out, const char *data, uint64_t from, size_t len,
			 uint64_t *offset, uint64_t end) {
	if (*offset < from || *offset >= from + len || *offset >= end)
		return;
	uint64_t n = (end < from + len ? end : from + len) - *offset;
	buf_add(out, data + (*offset - from), (size_t)n);
	*offset += n;
}

/* Drops what is in the window far before OFFSET. */
static void trim(struct rows_reader *r, uint64_t offset) {
	uint64_t from = r->head.offset - r->window.len;
	if (r->window.len < WINDOW_BYTES / 2 || offset < from + BEHIND_BYTES)
		return;
	uint64_t n = offset - BEHIND_BYTES - from;
	buf_consume(&r->window, n < r->window.len ? (size_t)n : r->window.len);
}

static int read_lines(struct call *call, struct rows_reader *r, const struct where *w,
		      const struct node *node, uint64_t offset, uint64_t end, struct buf *out) {
	bool more = true;
	int rc = 0;
	if (offset < end && (offset < r->head.offset - r->window.len || offset > r->head.offset))
		rc = jump(call, r, w, node, offset);
	while (rc == 0) {
		copy_overlap(out, r->window.data, r->head.offset - r->window.len, r->window.len,
			     &offset, end);
		if (offset >= end || !more)
			return out->failed ? -ENOMEM : 0;
		trim(r, offset);
		rc = advance(call, r, w, end, &more);
	}
	return rc;
}

struct rows_reader *rows_reader_fork(struct rows_reader *reader, const struct place *place,
				     struct mutex *owner) {
	struct rows_reader *r =
		settle_cursor(reader, place) == 0 ? rows_reader_new(place, owner) : NULL;
	if (r == NULL)
		return NULL;
	r->head.offset = reader->head.offset;
	r->head.cursor = cursor_copy(reader->head.cursor, r->ncursor);
	if (r->head.cursor != NULL || reader->head.cursor == NULL)
		return r;
	rows_reader_free(r);
	return NULL;
}

int rows_reader_on(struct call *call, struct rows_reader *reader, const struct where *w,
		   const struct node *node, uint64_t offset, size_t want, struct buf *out) {
	rows_flow_attach(reader->flow, call);
	int rc = read_lines(call, reader, w, node, offset, offset + want, out);
	rows_flow_attach(reader->flow, NULL);
	return rc;
}

int rows_reader_at(struct call *call, struct rows_reader *reader, const struct where *w,
		   const struct node *node, uint64_t offset, size_t want, struct buf *out) {
	uint64_t end = offset + want;
	if (w->place->sql.header != NULL)
		copy_overlap(out, w->place->sql.header, 0, reader->start, &offset, end);
	return rows_reader_on(call, reader, w, node, offset, (size_t)(end - offset), out);
}
