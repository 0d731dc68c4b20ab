#include "import/record.h"

#include "util/text/json_tree.h"

#include <errno.h>
#include <string.h>

enum {
	CHUNK = 256 * 1024,
	OPEN_MOST = 16 * 1024 *
		    1024, /* bytes behind which a quoted field that is still open is judged */
};

/* -- reading ----------------------------------------------------------------------------------- */

void records_close(struct records *r) {
	if (r->fd >= 0)
		close(r->fd);
	buf_free(&r->data);
	shape_free(&r->columns);
	csv_free(&r->split);
	line_checker_free(&r->checker);
	free(r->rules);
	*r = (struct records){ .fd = -1 };
}

/* Reads on. Returns 1, 0 at the end, or -errno. */
static int fill(struct records *r) {
	buf_consume(&r->data, r->at);
	r->at = 0;
	size_t len = r->data.len;
	buf_reserve(&r->data, len + CHUNK);
	if (r->data.failed)
		return -ENOMEM;
	ssize_t n = read(r->fd, r->data.data + len, CHUNK);
	if (n < 0)
		return -errno;
	r->data.len = len + (size_t)n;
	r->ended = n == 0;
	return n > 0;
}

/* What the reader finds next; bytes are read for it. RECORD_NONE at the end. Returns 0 or
 * -errno. */
static int next_found(struct records *r, enum record_kind *kind, struct record_found *found) {
	for (;;) {
		size_t len = r->data.len - r->at;
		enum record_more more = r->ended          ? RECORD_END
					: len > OPEN_MOST ? RECORD_SYNC
							  : RECORD_MORE;
		const char *data = r->data.data != NULL ? r->data.data + r->at : "";
		*kind = record_next(&r->reader, data, len, more, found);
		if (*kind != RECORD_NONE || r->ended)
			return 0;
		int rc = fill(r);
		if (rc < 0)
			return rc;
	}
}

static void take(struct records *r, const struct record_found *found) {
	r->at += found->taken;
	r->offset += found->taken;
}

int records_next(struct records *r, struct record *out) {
	for (;;) {
		struct record_found found;
		enum record_kind kind;
		int rc = next_found(r, &kind, &found);
		if (rc != 0 || kind == RECORD_NONE)
			return rc;
		*out = (struct record){ .text = found.text,
					.len = found.len,
					.offset = r->offset,
					.end = r->offset + found.taken,
					.line = found.number };
		take(r, &found);
		if (found.len > 0 && kind != RECORD_HEADER)
			return 1;
	}
}

/* How many fields a record has, from the first one that quotes alone make. */
static int guess_fields(struct records *r) {
	const char *data = r->data.data + r->at, *end = r->data.data + r->data.len, *newline = data;
	while ((newline = memchr(newline, '\n', (size_t)(end - newline))) != NULL) {
		AUTO_BUF struct buf why = { 0 };
		size_t len = (size_t)(newline - data);
		len -= len > 0 && data[len - 1] == '\r';
		if (r->reader.format->split(data, len, &r->split, &why) == 0)
			return r->split.n;
		newline++;
	}
	return 1;
}

/* The reader knows how many fields there are, and nothing of their types. */
static int set_fields(struct records *r, bool header) {
	int n = r->columns.n > 0 ? r->columns.n : guess_fields(r);
	r->rules = calloc((size_t)n, sizeof(*r->rules));
	if (r->rules == NULL || line_checker_init(&r->checker, r->rules, n) != 0)
		return -ENOMEM;
	for (int i = 0; i < n; i++)
		r->rules[i] = (struct field_rule){ .name = "",
						   .newlines = true,
						   .kind = FIELD_SERVER,
						   .max_chars = -1,
						   .precision = -1 };
	record_fields(&r->reader, &r->checker, header);
	return 0;
}

static int find_name(const void *names, const char *text, size_t len) {
	return shape_find(names, text, len);
}

/* Looks at the first line: if it is a header, it says what the fields are. */
static int read_header(struct records *r, const struct shape *columns) {
	struct record_found first;
	enum record_kind kind;
	AUTO_BUF struct buf why = { 0 };
	int rc = next_found(r, &kind, &first);
	if (rc != 0 || kind != RECORD_FIRST)
		return rc;
	bool header = r->reader.format->split(first.text, first.len, &r->split, &why) == 0;
	bool ok = true;
	AUTO_FREE int *order = calloc((size_t)r->split.n + 1, sizeof(*order));
	if (order == NULL)
		return -ENOMEM;
	if (header && columns != NULL)
		header = csv_is_header(&r->split, find_name, columns, order);
	for (int i = 0; header && ok && i < r->split.n; i++)
		ok = shape_add(&r->columns, r->split.fields[i].text, r->split.fields[i].len);
	if (!header && columns != NULL)
		ok = shape_copy(&r->columns, columns);
	rc = ok ? set_fields(r, header) : -ENOMEM;
	if (rc != 0 || !header)
		return rc;
	rc = next_found(r, &kind, &first);
	if (rc == 0)
		take(r, &first);
	return rc;
}

int records_open(struct records *r, int fd, const struct format *format,
		 const struct shape *columns) {
	*r = (struct records){ .fd = fd };
	if (fd < 0)
		return fd;
	record_begin(&r->reader, format, SIZE_MAX);
	return format->split != NULL ? read_header(r, columns) : 0;
}

/* -- what a record says ------------------------------------------------------------------------ */

/* The columns of the record itself, in order: a CSV's header, the keys of a JSON object. None if it
 * is no record: then it is compared as its text. */
static void form_of(const struct records *r, const struct record *record, struct shape *out) {
	AUTO_TREE struct json tree = { 0 };
	bool ok = true;
	if (r->reader.format->split != NULL)
		ok = shape_copy(out, &r->columns);
	else if (json_read(record->text, record->len, &tree) && tree.type == JSON_OBJECT)
		for (int i = 0; ok && i < tree.n; i++)
			ok = shape_add(out, tree.children[i].key, strlen(tree.children[i].key));
	if (!ok)
		shape_free(out);
	shape_sort(out);
}

const struct shape *forms_of(struct forms *forms, const struct records *r,
			     const struct record *record) {
	AUTO_SHAPE struct shape form = { 0 };
	if (r->reader.format->split != NULL && forms->n > 0)
		return &forms->list[0];
	form_of(r, record, &form);
	for (int i = 0; i < forms->n; i++)
		if (shape_equal(&forms->list[i], &form))
			return &forms->list[i];
	if (forms->n == FORMS_MOST)
		return &forms->list[FORMS_MOST - 1];
	forms->list[forms->n] = form;
	form = (struct shape){ 0 };
	return &forms->list[forms->n++];
}

void forms_free(struct forms *forms) {
	for (int i = 0; i < forms->n; i++)
		shape_free(&forms->list[i]);
	*forms = (struct forms){ 0 };
}

static void put_field(struct records *r, int field, struct buf *out) {
	if (field < 0 || field >= r->split.n) {
		buf_putc(out, '-');
		return;
	}
	const struct csv_field *f = &r->split.fields[field];
	buf_putc(out, f->null ? 'N' : '=');
	scalar_canonical(out, f->text, f->len);
}

static bool put_values(struct records *r, const struct record *record, const struct shape *form,
		       struct buf *out) {
	AUTO_TREE struct json tree = { 0 };
	AUTO_BUF struct buf why = { 0 };
	const struct format *format = r->reader.format;
	if (format->split != NULL
		    ? format->split(record->text, record->len, &r->split, &why) != 0 ||
			      r->split.n != r->columns.n
		    : !json_read(record->text, record->len, &tree) || tree.type != JSON_OBJECT)
		return false;
	for (int i = 0; i < form->n; i++) {
		const char *name = form->names[i];
		buf_add(out, name, strlen(name) + 1);
		if (format->split != NULL) {
			put_field(r, shape_find(&r->columns, name, strlen(name)), out);
		} else {
			const struct json *member = json_member(&tree, name);
			if (member != NULL)
				json_canonical(out, member);
		}
		buf_putc(out, '\0');
	}
	return true;
}

static uint64_t mix(uint64_t h) {
	h = (h ^ (h >> 33)) * 0xff51afd7ed558ccdULL;
	h = (h ^ (h >> 33)) * 0xc4ceb9fe1a85ec53ULL;
	return h ^ (h >> 33);
}

static struct hash hash_of(const char *data, size_t len) {
	uint64_t a = 0x9e3779b97f4a7c15ULL ^ len, b = 0xc2b2ae3d27d4eb4fULL + len;
	while (len > 0) {
		uint64_t word = 0;
		size_t n = len < sizeof(word) ? len : sizeof(word);
		memcpy(&word, data, n);
		a = mix(a ^ word) + 0x165667b19e3779f9ULL;
		b = mix(b + (word << 29 | word >> 35)) ^ a;
		data += n;
		len -= n;
	}
	return (struct hash){ mix(a), mix(b) };
}

struct hash records_hash(struct records *r, const struct record *record, const struct shape *form) {
	AUTO_BUF struct buf said = { 0 };
	if (!put_values(r, record, form, &said)) {
		buf_resize(&said, 0);
		buf_putc(&said, '!');
		buf_add(&said, record->text, record->len);
	}
	return hash_of(said.data, said.failed ? 0 : said.len);
}
