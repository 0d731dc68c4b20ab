/* Rows are compared as multisets of hashes. Where a file has more different rows than fit into
 * memory, it is read several times, and each time only the hashes of one part count. */
#include "import/verify.h"

#include "import/bag.h"
#include "util/text/json_tree.h"
#include "util/text/strings.h"
#include "util/mutex.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

enum { TOLD_MOST = 20 };

struct check {
	struct import *im;
	const struct item *item;
	uint64_t differences;
	bool quiet;
};

static void differ(struct check *c, uint64_t line, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void differ(struct check *c, uint64_t line, const char *fmt, ...) {
	AUTO_BUF struct buf out = { 0 };
	va_list ap;
	if (++c->differences > TOLD_MOST || c->quiet)
		return;
	import_put_name(&out, c->item->path);
	if (line > 0)
		buf_printf(&out, ":%" PRIu64, line);
	buf_puts(&out, ": ");
	va_start(ap, fmt);
	buf_vprintf(&out, fmt, ap);
	va_end(ap);
	LOCK_SCOPE(&c->im->told);
	printf("%s\n", out.failed ? "out of memory" : out.data);
}

/* -- bytes ------------------------------------------------------------------------------------- */

static void compare_bytes(struct check *c) {
	AUTO_FD int a = import_open_old(c->im, c->item), b = import_open_new(c->im, c->item);
	struct import_difference at;
	int rc = a >= 0 && b >= 0 ? import_compare(a, b, &at) : 0;
	if (a < 0 || b < 0)
		differ(c, 0, a < 0 ? "cannot be read in the old tree" : "is not on the mount");
	else if (rc != 0)
		differ(c, 0, "cannot be read: %s", strerror(-rc));
	else if (!at.a_ends && !at.b_ends)
		differ(c, at.line, "byte %" PRIu64 " differs", at.offset);
	else if (!at.a_ends || !at.b_ends)
		differ(c, at.line, "ends behind byte %" PRIu64 " %s", at.offset,
		       at.a_ends ? "in the old tree" : "on the mount");
}

/* -- documents --------------------------------------------------------------------------------- */

/* FD is closed; it may be -errno. */
static int read_all(int fd, struct buf *out) {
	AUTO_FD int in = fd;
	char chunk[16384];
	ssize_t n = 0;
	buf_puts(out, "");
	while (in >= 0 && (n = read(in, chunk, sizeof(chunk))) > 0)
		buf_add(out, chunk, (size_t)n);
	return in < 0 ? in : n < 0 ? -errno : out->failed ? -ENOMEM : 0;
}

static bool read_both(struct check *c, struct buf *old, struct buf *new) {
	int rc = read_all(import_open_old(c->im, c->item), old);
	if (rc == 0 && (rc = read_all(import_open_new(c->im, c->item), new)) == -ENOENT)
		differ(c, 0, "is not on the mount");
	else if (rc != 0)
		differ(c, 0, "cannot be read (%s)", strerror(-rc));
	return rc == 0;
}

static void tell_members(struct check *c, const struct json *older, const struct json *newer) {
	for (int i = 0; i < older->n; i++) {
		const struct json *child = &older->children[i];
		const struct json *other = json_member(newer, child->key);
		if (other == NULL)
			differ(c, 0, "\"%s\" is not there", child->key);
		else if (!json_same(child, other, 0))
			differ(c, 0, "\"%s\" has another value", child->key);
	}
}

/* Both lists have the same elements, in any order. */
static bool same_elements(const struct json *older, const struct json *newer) {
	AUTO_FREE bool *taken = calloc((size_t)newer->n + 1, sizeof(bool));
	if (taken == NULL || older->n != newer->n)
		return false;
	for (int i = 0; i < older->n; i++) {
		int at = i; /* most often in the same place */
		if (taken[at] || !json_same(&older->children[i], &newer->children[at], 1))
			for (at = 0; at < newer->n; at++)
				if (!taken[at] &&
				    json_same(&older->children[i], &newer->children[at], 1))
					break;
		if (at == newer->n)
			return false;
		taken[at] = true;
	}
	return true;
}

static void compare_json(struct check *c, const struct buf *old, const struct buf *new) {
	AUTO_TREE struct json older = { 0 }, newer = { 0 };
	if (!json_read(old->data, old->len, &older)) {
		differ(c, 0, "is no JSON in the old tree");
		return;
	}
	if (!json_read(new->data, new->len, &newer)) {
		differ(c, 0, "is no JSON on the mount");
		return;
	}
	if (c->item->what == CLASS_TABLE)
		atomic_fetch_add(&c->im->rows, (unsigned long long)newer.n);
	if (c->item->what == CLASS_ROW && older.type == JSON_OBJECT)
		tell_members(c, &older, &newer);
	else if (c->item->what == CLASS_TABLE && older.type == JSON_ARRAY &&
				 newer.type == JSON_ARRAY
			 ? !same_elements(&older, &newer)
		 : c->item->what == CLASS_TABLE
			 ? older.n != newer.n || !json_same(&older, &newer, 2)
			 : !json_same(&older, &newer, 0))
		differ(c, 0, "has another value");
}

static void canonical_text(struct buf *out, const struct buf *text) {
	scalar_canonical(out, text->data, record_without_end(text->data, text->len));
	buf_puts(out, "");
}

static void compare_documents(struct check *c) {
	AUTO_BUF struct buf old = { 0 }, new = { 0 }, a = { 0 }, b = { 0 };
	if (!read_both(c, &old, &new))
		return;
	if (old.len == new.len && memcmp(old.data, new.data, old.len) == 0)
		return;
	if (text_ends(c->item->path, ".json")) {
		compare_json(c, &old, &new);
		return;
	}
	canonical_text(&a, &old);
	canonical_text(&b, &new);
	if (a.len != b.len || memcmp(a.data, b.data, a.len) != 0)
		differ(c, 0, "has another value");
}

/* -- rows -------------------------------------------------------------------------------------- */

/* One reading of both files: hashes of which A % PARTS is PART. */
struct pass {
	struct check *c;
	uint64_t parts, part;
	struct bag bag;
	struct forms forms;  /* of the old lines */
	struct shape header; /* the fields of the mount's file, if it has such */
	uint64_t rows;       /* of the old file */
};

static int read_old(struct pass *p) {
	AUTO_RECORDS struct records r = { .fd = -1 };
	struct record record;
	const struct shape *columns = p->header.n > 0 ? &p->header : NULL;
	int rc = records_open(&r, import_open_old(p->c->im, p->c->item), item_format(p->c->item),
			      columns);
	while (rc == 0 && (rc = records_next(&r, &record)) == 1) {
		struct hash hash = records_hash(&r, &record, forms_of(&p->forms, &r, &record));
		p->rows += p->part == 0;
		rc = hash.a % p->parts == p->part ? bag_add(&p->bag, hash, record.line) : 0;
	}
	return rc;
}

/* Takes one row of the mount out of the bag. Returns false if it should be there and is not. */
static bool take(struct pass *p, struct records *r, const struct record *record) {
	bool ours = p->forms.n == 0 && p->part == 0;
	for (int i = 0; i < p->forms.n; i++) {
		struct hash hash = records_hash(r, record, &p->forms.list[i]);
		if (hash.a % p->parts != p->part)
			continue;
		/* with several forms nobody knows which part a row without a partner belongs to */
		ours = p->forms.n == 1 || p->parts == 1;
		struct bag_entry *e = bag_find(&p->bag, hash);
		if (e != NULL && e->count > 0) {
			e->count--;
			return true;
		}
	}
	return !ours;
}

static int read_new(struct pass *p) {
	AUTO_RECORDS struct records r = { .fd = -1 };
	struct record record;
	int rc = records_open(&r, import_open_new(p->c->im, p->c->item), item_format(p->c->item),
			      NULL);
	if (rc == -ENOENT)
		return 0; /* no row, no file */
	while (rc == 0 && (rc = records_next(&r, &record)) == 1) {
		if (!take(p, &r, &record))
			differ(p->c, 0, "line %" PRIu64 " of the mount is not in the old file",
			       record.line);
		rc = 0;
	}
	return rc;
}

static void tell_missing(struct pass *p) {
	for (size_t i = 0; i < p->bag.room; i++) {
		const struct bag_entry *e = &p->bag.entries[i];
		if (!e->used || e->count <= 0)
			continue;
		if (e->count == 1)
			differ(p->c, e->line, "the row is not on the mount");
		else
			differ(p->c, e->line, "%" PRId64 " rows like this one are not on the mount",
			       e->count);
	}
}

static void compare_rows(struct check *c) {
	struct pass p = { .c = c, .parts = 1 };
	struct records header = { .fd = -1 };
	uint64_t before = c->differences;
	int rc = 0;
	const struct format *format = item_format(c->item);
	if (format->split != NULL &&
	    records_open(&header, import_open_new(c->im, c->item), format, NULL) == 0) {
		p.header = header.columns;
		header.columns = (struct shape){ 0 };
	}
	records_close(&header);
	while (rc == 0 && p.part < p.parts) {
		rc = read_old(&p);
		if (rc == -E2BIG) { /* again, in more parts */
			p.rows = 0;
			p.parts *= 2;
			p.part = 0;
			c->differences = before;
			rc = 0;
		} else if (rc == 0) {
			rc = read_new(&p);
			tell_missing(&p);
			p.part++;
		}
		bag_free(&p.bag);
	}
	if (rc != 0)
		differ(c, 0, "cannot be read: %s", strerror(-rc));
	forms_free(&p.forms);
	shape_free(&p.header);
	if (!c->quiet)
		atomic_fetch_add(&c->im->rows, p.rows);
}

/* The lines of an ingest file, which has the bytes of the old one, and the rows that came from
 * it. */
static void compare_ingested(struct check *c) {
	struct rowfs_rows rows = { 0 };
	int rc = import_ask_rows(c->im, c->item, &rows);
	uint64_t all = rows.bad + rows.lines;
	if (rc == -ENOTTY) /* no mount that tells, or no ingest file there any more */
		return;
	atomic_fetch_add(&c->im->rows, rows.rows);
	if (rc != 0)
		differ(c, 0, "its rows cannot be compared: %s", strerror(-rc));
	if (rows.bad > 0)
		differ(c, 0, "%" PRIu64 " of %" PRIu64 " lines are no rows, see rejected/",
		       rows.bad, all);
	if (rows.rows < rows.lines)
		differ(c, 0, "%" PRIu64 " of %" PRIu64 " lines have no row", rows.lines - rows.rows,
		       all);
	if (rows.rows > rows.lines)
		differ(c, 0, "%" PRIu64 " rows more than lines", rows.rows - rows.lines);
	if (rows.alike < rows.rows)
		differ(c, 0, "%" PRIu64 " of %" PRIu64 " rows say something else than its lines",
		       rows.rows - rows.alike, rows.rows);
}

static void compare(struct check *c) {
	bool bytes = c->item->what == CLASS_INGEST || c->item->what == CLASS_PLAIN;
	if (bytes)
		compare_bytes(c);
	else if (c->item->what == CLASS_LINES)
		compare_rows(c);
	else
		compare_documents(c);
	if (c->item->what == CLASS_INGEST && c->differences == 0)
		compare_ingested(c);
	if (c->item->what == CLASS_ROW)
		atomic_fetch_add(&c->im->rows, 1);
}

bool verify_same(struct import *im, const struct item *item) {
	struct check c = { .im = im, .item = item, .quiet = true };
	compare(&c);
	return c.differences == 0;
}

uint64_t verify_item(struct import *im, const struct item *item) {
	AUTO_BUF struct buf name = { 0 };
	struct check c = { .im = im, .item = item };
	compare(&c);
	if (c.differences <= TOLD_MOST)
		return c.differences;
	import_put_name(&name, item->path);
	LOCK_SCOPE(&im->told);
	printf("%s: %" PRIu64 " more differences\n", name.failed ? "?" : name.data,
	       c.differences - TOLD_MOST);
	return c.differences;
}
